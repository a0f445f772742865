package permit_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/xeroops/xeroops/internal/awscalls"
	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/fakeaws/permit"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

const (
	boundary = "arn:aws:iam::" + moto.Account + ":policy/xeroops-boundary"
	trust    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

// documented returns policies of docs/policies as one.
func documented(t *testing.T, names ...string) iampolicy.Document {
	t.Helper()
	var all iampolicy.Document
	for _, name := range names {
		text, err := os.ReadFile("../../../docs/policies/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		document, err := iampolicy.Parse([]byte(awscalls.Fill(string(text), "aws", "amazonaws.com", moto.Account, "eu-west-1")))
		if err != nil {
			t.Fatal(err)
		}
		all.Statements = append(all.Statements, document.Statements...)
	}
	return all
}

// clients call AWS with one access key.
type clients struct {
	ec2 *ec2.Client
	iam *iam.Client
}

// operators returns the clients of an administrator, and of an operator with policies of
// docs/policies.
func operators(t *testing.T, policies ...string) (admin, operator clients) {
	t.Helper()
	const key = "AKIAOPERATOR"
	guard := permit.New(moto.Account)
	guard.Restrict(key, documented(t, policies...))
	front, err := fakeaws.Start(fakeaws.Options{Upstream: mototest.Empty(t).URL,
		Fixups: append([]fakeaws.Fixup{guard.Fixup()}, fixups.All(fixups.Options{PendingFor: time.Nanosecond, ProfileDelay: time.Nanosecond})...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	as := func(key string) clients {
		cfg := aws.Config{BaseEndpoint: &front.URL, Region: "eu-west-1", RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(key, "test", "")}
		return clients{ec2.NewFromConfig(cfg), iam.NewFromConfig(cfg)}
	}
	return as("test"), as(key)
}

// resources are one of each kind, with the same tags.
type resources struct {
	vpc, subnet, table, association, gateway, group, instance, profile, volume, snapshot, image, address, eni *string
}

// create creates resources with the tag, or none if it is "".
func create(t *testing.T, c clients, cidr, tag, value string) resources {
	t.Helper()
	ctx := t.Context()
	var tags []types.Tag
	if tag != "" {
		tags = []types.Tag{{Key: &tag, Value: &value}}
	}
	var r resources
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	vpc, err := c.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(cidr + ".0.0/16")})
	do(err)
	r.vpc = vpc.Vpc.VpcId
	subnet, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: r.vpc, CidrBlock: aws.String(cidr + ".1.0/24")})
	do(err)
	r.subnet = subnet.Subnet.SubnetId
	table, err := c.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: r.vpc})
	do(err)
	r.table = table.RouteTable.RouteTableId
	association, err := c.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: r.table, SubnetId: r.subnet})
	do(err)
	r.association = association.AssociationId
	gateway, err := c.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
	do(err)
	r.gateway = gateway.InternetGateway.InternetGatewayId
	group, err := c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: r.vpc, GroupName: aws.String("g"), Description: aws.String("g")})
	do(err)
	r.group = group.GroupId
	images, err := c.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"amazon"}})
	do(err)
	instance, err := c.ec2.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, InstanceType: types.InstanceTypeT3Small, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SubnetId: r.subnet, SecurityGroupIds: []string{*r.group}})
	do(err)
	r.instance = instance.Instances[0].InstanceId
	r.eni = instance.Instances[0].NetworkInterfaces[0].NetworkInterfaceId
	volume, err := c.ec2.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: subnet.Subnet.AvailabilityZone, Size: aws.Int32(5)})
	do(err)
	r.volume = volume.VolumeId
	snapshot, err := c.ec2.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: r.volume})
	do(err)
	r.snapshot = snapshot.SnapshotId
	image, err := c.ec2.CreateImage(ctx, &ec2.CreateImageInput{InstanceId: r.instance, Name: aws.String("image" + cidr)})
	do(err)
	r.image = image.ImageId
	address, err := c.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	do(err)
	r.address = address.AllocationId
	if len(tags) > 0 {
		_, err = c.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Tags: tags, Resources: []string{
			*r.vpc, *r.subnet, *r.table, *r.gateway, *r.group, *r.instance, *r.eni, *r.volume, *r.snapshot, *r.image, *r.address}})
		do(err)
	}
	return r
}

// TestThePoliciesRefuseWhatIsOfOthers makes each change with the operator's policy, on
// resources of somebody else and on the operator's own.
func TestThePoliciesRefuseWhatIsOfOthers(t *testing.T) {
	for _, c := range []struct {
		policies   []string
		tag, value string
		changes    []change
	}{
		{[]string{"build"}, "xeroops:build", "1", changesOfBuilds},
		{[]string{"apply", "apply-access"}, "xeroops:managed-by", "terraform", changesOfApplies},
	} {
		t.Run(c.policies[0], func(t *testing.T) {
			admin, operator := operators(t, c.policies...)
			foreign, named, own := create(t, admin, "10.1", "", ""), create(t, admin, "10.2", "Name", "theirs"), create(t, admin, "10.3", c.tag, c.value)
			for _, change := range c.changes {
				for _, theirs := range []resources{foreign, named} {
					if err := change.call(t.Context(), operator, theirs); !awswait.HasCode(err, "UnauthorizedOperation") {
						t.Errorf("%s: %v, want UnauthorizedOperation", change.name, err)
					}
				}
				if err := change.call(t.Context(), operator, own); err != nil {
					t.Errorf("%s of the operator's own: %v", change.name, err)
				}
			}
		})
	}
}

// What cannot have the tag when the apply changes it: the default group of a VPC.
func TestAnApplyEmptiesGroupsWithoutAName(t *testing.T) {
	admin, operator := operators(t, "apply", "apply-access")
	cidrs := map[string]string{"": "10.1", "Name": "10.2"}
	for name, code := range map[string]string{"": "", "Name": "UnauthorizedOperation"} {
		r := create(t, admin, cidrs[name], name, "theirs")
		if err := changesOfBuilds[0].call(t.Context(), admin, r); err != nil {
			t.Fatal(err)
		}
		_, err := operator.ec2.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: r.group, IpPermissions: ssh})
		if awswait.Code(err) != code {
			t.Errorf("tag %q: %v, want %q", name, err, code)
		}
	}
}

func TestAnApplyGivesNoRoleMoreThanTheBoundary(t *testing.T) {
	admin, operator := operators(t, "apply", "apply-access")
	ctx := t.Context()
	text, err := os.ReadFile("../../../docs/policies/boundary.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, document := range map[string]string{"xeroops-boundary": awscalls.Fill(string(text), "aws", "amazonaws.com", moto.Account, "eu-west-1"), "wide": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`} {
		if _, err := admin.iam.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: &document}); err != nil {
			t.Fatal(err)
		}
	}
	const wide = "arn:aws:iam::" + moto.Account + ":policy/wide"
	role := func(c clients, name, boundary string) error {
		in := &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(trust), Tags: []iamtypes.Tag{{Key: aws.String("Name"), Value: &name}}}
		if boundary != "" {
			in.PermissionsBoundary = &boundary
		}
		_, err := c.iam.CreateRole(ctx, in)
		return err
	}
	if err := role(admin, "xeroops-theirs", ""); err != nil {
		t.Fatal(err)
	}
	if err := role(operator, "xeroops-own", boundary); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"without a boundary": role(operator, "xeroops-free", ""), "with another boundary": role(operator, "xeroops-wide", wide)} {
		if !awswait.HasCode(err, "AccessDenied") {
			t.Errorf("a role %s: %v, want AccessDenied", name, err)
		}
	}
	for name, call := range map[string]func(role *string) error{
		"put a policy": func(role *string) error {
			_, err := operator.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: role, PolicyName: aws.String("p"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
			return err
		},
		"delete a policy": func(role *string) error {
			_, err := operator.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: role, PolicyName: aws.String("p")})
			return err
		},
		"attach a policy": func(role *string) error {
			_, err := operator.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: aws.String(wide)})
			return err
		},
		"change who assumes it": func(role *string) error {
			_, err := operator.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: role, PolicyDocument: aws.String(trust)})
			return err
		},
	} {
		if err := call(aws.String("xeroops-theirs")); !awswait.HasCode(err, "AccessDenied") {
			t.Errorf("%s: %v, want AccessDenied", name, err)
		}
		if err := call(aws.String("xeroops-own")); awswait.HasCode(err, "AccessDenied") {
			t.Errorf("%s of the operator's own role: %v", name, err)
		}
	}
	_, err = operator.iam.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: aws.String("xeroops-own")})
	_, other := operator.iam.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String("xeroops-own"), PermissionsBoundary: aws.String(wide)})
	if !awswait.HasCode(err, "AccessDenied") || !awswait.HasCode(other, "AccessDenied") {
		t.Errorf("the boundary of a role was deleted (%v) or replaced (%v)", err, other)
	}
	if _, err := operator.iam.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String("xeroops-theirs"), PermissionsBoundary: aws.String(boundary)}); err != nil {
		t.Errorf("a role of an earlier apply cannot get the boundary: %v", err)
	}
	if _, err := operator.iam.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: aws.String(boundary), PolicyDocument: aws.String(trust)}); !awswait.HasCode(err, "AccessDenied") {
		t.Errorf("the boundary itself was changed: %v", err)
	}
}

// The Deny statements hold whatever else the operator may do.
func TestTheBoundaryStaysWithAnAdministratorsPolicy(t *testing.T) {
	wide, err := iampolicy.Parse([]byte(`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	role := "arn:aws:iam::" + moto.Account + ":role/xeroops/eu-west-1/production/xeroops-eu-west-1-production-app"
	for action, boundary := range map[string]string{"iam:DeleteRolePermissionsBoundary": boundary, "iam:PutRolePermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"} {
		r := iampolicy.Request{Action: action, Resource: role, Context: map[string][]string{"iam:permissionsboundary": {boundary}}}
		if got := iampolicy.Evaluate(r, wide, documented(t, "apply-access")); got != iampolicy.ExplicitDeny {
			t.Errorf("%s: decision %d, want an explicit deny", action, got)
		}
	}
}

// In an account that never had a spot instance or an endpoint, EC2 creates the
// service-linked role in the operator's name.
func TestAnApplyMayCreateTheServiceRolesThatItNeedsAndNoOther(t *testing.T) {
	admin, operator := operators(t, "apply", "apply-access")
	r := create(t, admin, "10.1", "", "")
	images, err := admin.ec2.DescribeImages(t.Context(), &ec2.DescribeImagesInput{Owners: []string{"amazon"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := operator.ec2.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, InstanceType: types.InstanceTypeT3Small, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SubnetId: r.subnet, InstanceMarketOptions: &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}}); err != nil {
		t.Error(err)
	}
	made, err := operator.ec2.CreateInstanceConnectEndpoint(t.Context(), &ec2.CreateInstanceConnectEndpointInput{SubnetId: r.subnet, SecurityGroupIds: []string{*r.group},
		TagSpecifications: []types.TagSpecification{tagged(types.ResourceTypeInstanceConnectEndpoint, "xeroops:managed-by", "terraform")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := operator.ec2.DeleteInstanceConnectEndpoint(t.Context(), &ec2.DeleteInstanceConnectEndpointInput{InstanceConnectEndpointId: made.InstanceConnectEndpoint.InstanceConnectEndpointId}); err != nil {
		t.Error(err)
	}
	if _, err := operator.iam.CreateServiceLinkedRole(t.Context(), &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("autoscaling.amazonaws.com")}); !awswait.HasCode(err, "AccessDenied") {
		t.Errorf("another service's role: %v, want AccessDenied", err)
	}
	theirs, err := admin.ec2.CreateInstanceConnectEndpoint(t.Context(), &ec2.CreateInstanceConnectEndpointInput{SubnetId: create(t, admin, "10.2", "", "").subnet})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := operator.ec2.DeleteInstanceConnectEndpoint(t.Context(), &ec2.DeleteInstanceConnectEndpointInput{InstanceConnectEndpointId: theirs.InstanceConnectEndpoint.InstanceConnectEndpointId}); !awswait.HasCode(err, "UnauthorizedOperation") {
		t.Errorf("another's endpoint: %v, want UnauthorizedOperation", err)
	}
}

// IAM refuses a document with an unknown element.
func TestThePoliciesAreDocumentsOfIAM(t *testing.T) {
	files, err := os.ReadDir("../../../docs/policies")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile("../../../docs/policies/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		var document struct{ Version, Statement json.RawMessage }
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&document); err != nil || string(document.Version) != `"2012-10-17"` {
			t.Errorf("%s: %v, version %s", f.Name(), err, document.Version)
		}
	}
}
