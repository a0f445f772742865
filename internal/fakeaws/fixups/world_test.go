package fixups_test

import (
	"context"
	"errors"
	"os"
	"sync"
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
)

var ctx = context.Background()

// moto is shared by the package's tests; each of them begins with a reset.
var sharedMoto = sync.OnceValues(func() (*moto.Server, error) {
	return moto.Start(ctx, moto.Options{})
})

func TestMain(m *testing.M) {
	code := m.Run()
	if server, err := sharedMoto(); err == nil {
		server.Stop()
	}
	os.Exit(code)
}

// world is an account behind a front, with a VPC and a subnet to work in.
type world struct {
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

func newWorld(t *testing.T, o fixups.Options) *world {
	t.Helper()
	server, err := sharedMoto()
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	w := newFront(t, &world{moto: server}, o)
	vpc, err := w.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	w.ok(err)
	w.vpc = vpc.Vpc.VpcId
	subnet, err := w.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: w.vpc, CidrBlock: aws.String("10.0.2.0/24"), AvailabilityZone: aws.String(zone)})
	w.ok(err)
	w.subnet = subnet.Subnet.SubnetId
	w.securityID = w.group("app")
	return w
}

// newFront puts another front before the world's moto.
func newFront(t *testing.T, w *world, o fixups.Options) *world {
	t.Helper()
	front, err := fakeaws.Start(fakeaws.Options{Upstream: w.moto.URL, Fixups: fixups.All(o)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	cfg := inventory.Config(front.URL, "eu-west-1")
	cfg.RetryMaxAttempts = 1
	return &world{t: t, front: front, moto: w.moto, ec2: ec2.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg),
		s3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })}
}

// fast has no waits: instances run at once.
var fast = fixups.Options{PendingFor: time.Nanosecond, ProfileDelay: time.Nanosecond}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// refused fails unless err has the AWS error code.
func (w *world) refused(err error, code string) {
	w.t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		w.t.Errorf("got %v, want %s", err, code)
	}
}

func (w *world) group(name string) *string {
	w.t.Helper()
	g, err := w.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: &name, VpcId: w.vpc})
	w.ok(err)
	return g.GroupId
}

// input launches into the world's subnet at an address.
func (w *world) input(address string) *ec2.RunInstancesInput {
	return &ec2.RunInstancesInput{
		ImageId: aws.String(moto.BaseImageID), InstanceType: "t3.small", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SubnetId: w.subnet, PrivateIpAddress: &address, SecurityGroupIds: []string{*w.securityID},
	}
}

func (w *world) run(address string) string {
	w.t.Helper()
	out, err := w.ec2.RunInstances(ctx, w.input(address))
	w.ok(err)
	return *out.Instances[0].InstanceId
}

func (w *world) terminate(id string) {
	w.t.Helper()
	_, err := w.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	w.ok(err)
}

// instances lists every instance that the front shows.
func (w *world) instances(filters ...types.Filter) []types.Instance {
	w.t.Helper()
	out, err := w.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: filters})
	w.ok(err)
	var all []types.Instance
	for _, r := range out.Reservations {
		all = append(all, r.Instances...)
	}
	return all
}

func (w *world) gateway() *string {
	w.t.Helper()
	g, err := w.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
	w.ok(err)
	_, err = w.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: g.InternetGateway.InternetGatewayId, VpcId: w.vpc})
	w.ok(err)
	return g.InternetGateway.InternetGatewayId
}

func (w *world) allocate() *string {
	w.t.Helper()
	a, err := w.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	w.ok(err)
	return a.AllocationId
}

func (w *world) associate(allocation *string, instance string) error {
	_, err := w.ec2.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: allocation, InstanceId: &instance})
	return err
}

// eventually polls until the condition holds.
func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			w.t.Fatalf("after 10 s still not: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}
