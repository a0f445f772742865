package inventory_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

func TestListHasEveryKindAndIsEmptyForANewAccount(t *testing.T) {
	moto := mototest.Start(t, moto.Options{})
	cfg := inventory.Config(moto.URL, "eu-west-1")
	items, err := inventory.List(t.Context(), cfg)
	if err != nil || len(items) > 0 {
		t.Fatalf("a fresh account holds:\n%s\n%v", strings.Join(inventory.Lines(items), "\n"), err)
	}
	first := build(t, cfg)
	if err := moto.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := build(t, cfg)
	kinds := map[string]bool{}
	for _, i := range first {
		kinds[i.Kind] = true
	}
	for _, kind := range []string{"vpc", "subnet", "route-table", "internet-gateway", "endpoint", "security-group", "address", "volume",
		"snapshot", "instance", "key-pair", "role", "instance-profile", "policy", "bucket", "object version", "delete marker"} {
		if !kinds[kind] {
			t.Errorf("no %s in the list", kind)
		}
	}
	if a, b := inventory.Normalised(first), inventory.Normalised(second); !slices.Equal(a, b) {
		t.Errorf("the same things look different:\n%s\n--\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	if slices.Equal(inventory.Lines(first), inventory.Lines(second)) {
		t.Error("ids are the same in both accounts: the comparison shows nothing")
	}
}

// build creates one resource of each kind and lists the account.
func build(t *testing.T, cfg aws.Config) []inventory.Item {
	t.Helper()
	ctx := t.Context()
	c, identity := ec2.NewFromConfig(cfg), iam.NewFromConfig(cfg)
	store := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	vpc, err := c.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	check(err)
	subnet, err := c.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24"),
		AvailabilityZone: aws.String("eu-west-1a")})
	check(err)
	gateway, err := c.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
	check(err)
	_, err = c.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{
		VpcId: vpc.Vpc.VpcId, InternetGatewayId: gateway.InternetGateway.InternetGatewayId})
	check(err)
	_, err = c.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: vpc.Vpc.VpcId, ServiceName: aws.String("com.amazonaws.eu-west-1.s3")})
	check(err)
	_, err = c.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	check(err)
	volume, err := c.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-west-1a"), Size: aws.Int32(5)})
	check(err)
	_, err = c.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: volume.VolumeId})
	check(err)
	_, err = c.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String(moto.BaseImageID), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		InstanceType: "t3.small", NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0),
			SubnetId: subnet.Subnet.SubnetId, PrivateIpAddress: aws.String("10.0.1.10")}}})
	check(err)
	_, err = c.CreateKeyPair(ctx, &ec2.CreateKeyPairInput{KeyName: aws.String("key")})
	check(err)
	_, err = identity.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("role"), AssumeRolePolicyDocument: aws.String(document)})
	check(err)
	_, err = identity.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("role"), PolicyName: aws.String("inline"), PolicyDocument: aws.String(document)})
	check(err)
	_, err = identity.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("profile")})
	check(err)
	_, err = identity.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("policy"), PolicyDocument: aws.String(document)})
	check(err)
	bucket := aws.String("bucket")
	_, err = store.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	check(err)
	_, err = store.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: "Enabled"}})
	check(err)
	_, err = store.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("key")})
	check(err)
	_, err = store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("key")})
	check(err)
	items, err := inventory.List(ctx, cfg)
	check(err)
	return items
}

const document = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`
