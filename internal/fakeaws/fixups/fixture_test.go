package fixups_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

var ctx = context.Background()

func TestMain(m *testing.M) { os.Exit(mototest.Main(m)) }

// fixture is an account behind a Front, with a VPC and a subnet.
type fixture struct {
	t          *testing.T
	front      *fakeaws.Front
	moto       *moto.Server
	ec2        *ec2.Client // through the front
	iam        *iam.Client
	s3         *s3.Client
	vpc        *string
	subnet     *string
	securityID *string
}

const zone = "eu-west-1a"

func newFixture(t *testing.T, o fixups.Options) *fixture {
	t.Helper()
	f := newFront(t, &fixture{moto: mototest.Empty(t)}, o)
	vpc, err := f.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	f.ok(err)
	f.vpc = vpc.Vpc.VpcId
	subnet, err := f.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: f.vpc, CidrBlock: aws.String("10.0.2.0/24"), AvailabilityZone: aws.String(zone)})
	f.ok(err)
	f.subnet = subnet.Subnet.SubnetId
	f.securityID = f.group("app")
	return f
}

// newFront starts another Front for the fixture's moto.
func newFront(t *testing.T, f *fixture, o fixups.Options) *fixture {
	t.Helper()
	front, err := fakeaws.Start(fakeaws.Options{Upstream: f.moto.URL, Fixups: fixups.All(o)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	cfg := inventory.Config(front.URL, "eu-west-1")
	cfg.RetryMaxAttempts = 1
	other := *f
	other.t, other.front, other.ec2, other.iam = t, front, ec2.NewFromConfig(cfg), iam.NewFromConfig(cfg)
	other.s3 = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	return &other
}

// fast has no delays: instances are running at once.
var fast = fixups.Options{PendingFor: time.Nanosecond, ProfileDelay: time.Nanosecond, AddressKeptFor: time.Nanosecond, StoppingFor: time.Nanosecond}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// refused fails the test unless err has the AWS error code.
func (f *fixture) refused(err error, code string) {
	f.t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		f.t.Errorf("got %v, want %s", err, code)
	}
}

func (f *fixture) group(name string) *string {
	f.t.Helper()
	g, err := f.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: &name, VpcId: f.vpc})
	f.ok(err)
	return g.GroupId
}

// input returns the input of a launch in the fixture's subnet with an address.
func (f *fixture) input(address string) *ec2.RunInstancesInput {
	return &ec2.RunInstancesInput{
		ImageId: aws.String(moto.BaseImageID), InstanceType: "t3.small", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SubnetId: f.subnet, PrivateIpAddress: &address, SecurityGroupIds: []string{*f.securityID},
	}
}

func (f *fixture) run(address string) string {
	f.t.Helper()
	out, err := f.ec2.RunInstances(ctx, f.input(address))
	f.ok(err)
	return *out.Instances[0].InstanceId
}

func (f *fixture) terminate(id string) {
	f.t.Helper()
	_, err := f.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	f.ok(err)
}

// instances returns all instances that the Front shows.
func (f *fixture) instances(filters ...types.Filter) []types.Instance {
	f.t.Helper()
	out, err := f.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: filters})
	f.ok(err)
	var all []types.Instance
	for _, r := range out.Reservations {
		all = append(all, r.Instances...)
	}
	return all
}

func (f *fixture) gateway() *string {
	f.t.Helper()
	g, err := f.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
	f.ok(err)
	_, err = f.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: g.InternetGateway.InternetGatewayId, VpcId: f.vpc})
	f.ok(err)
	return g.InternetGateway.InternetGatewayId
}

func (f *fixture) allocate() *string {
	f.t.Helper()
	a, err := f.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	f.ok(err)
	return a.AllocationId
}

func (f *fixture) associate(allocation *string, instance string) error {
	_, err := f.ec2.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: allocation, InstanceId: &instance})
	return err
}

// eventually polls until the condition holds.
func (f *fixture) eventually(what string, condition func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			f.t.Fatalf("timeout waiting for: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}
