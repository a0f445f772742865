package network

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

func soundVPC() *vpcParts {
	return &vpcParts{
		vpc:          ec2types.Vpc{VpcId: aws.String("vpc-1"), CidrBlock: aws.String("10.0.0.0/16")},
		gateway:      &ec2types.InternetGateway{InternetGatewayId: aws.String("igw-1")},
		endpoint:     &ec2types.VpcEndpoint{VpcEndpointId: aws.String("vpce-1"), PolicyDocument: aws.String(`{"b": [2], "a": 1}`)},
		defaultGroup: &ec2types.SecurityGroup{GroupId: aws.String("sg-1")},
		dnsSupport:   true, dnsHostnames: true,
		wantedPolicy: `{"a":1,"b":[2]}`, // AWS reformats policies
	}
}

func TestVPCDrift(t *testing.T) {
	for want, change := range map[string]func(*vpcParts){
		"":                                  func(*vpcParts) {},
		"no internet gateway":               func(p *vpcParts) { p.gateway = nil },
		"endpoint for S3 is missing":        func(p *vpcParts) { p.endpoint = nil },
		"policy of the S3 endpoint":         func(p *vpcParts) { p.endpoint.PolicyDocument = aws.String(`{"a":2}`) },
		"default security group has 1 rule": func(p *vpcParts) { p.defaultGroup.IpPermissionsEgress = make([]ec2types.IpPermission, 1) },
		"DNS":                               func(p *vpcParts) { p.dnsHostnames = false },
	} {
		p := soundVPC()
		change(p)
		if got := strings.Join(p.drift(), "; "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("drift is %q, want %q", got, want)
		}
	}
}

// A part that is created again gets another id, and a plan with the old one would
// fail the apply.
func TestMissingPartsHaveNoID(t *testing.T) {
	m, p := vpcModel{}, soundVPC()
	m.fromAWS(p, base.TagSettings{})
	p.gateway, p.endpoint = nil, nil
	m.fromAWS(p, base.TagSettings{})
	if !m.InternetGatewayID.IsNull() || !m.S3EndpointID.IsNull() || m.DefaultSecurityGroupID.ValueString() != "sg-1" {
		t.Errorf("ids are %s, %s, %s", m.InternetGatewayID, m.S3EndpointID, m.DefaultSecurityGroupID)
	}
}

func TestSetIDLeavesNothingUnknown(t *testing.T) {
	m := vpcModel{ARN: types.StringUnknown(), InternetGatewayID: types.StringUnknown(), S3EndpointID: types.StringUnknown(), DefaultSecurityGroupID: types.StringUnknown()}
	m.setID("vpc-1")
	for _, v := range []types.String{m.ID, m.ARN, m.InternetGatewayID, m.S3EndpointID, m.DefaultSecurityGroupID} {
		if v.IsUnknown() {
			t.Error("a value is unknown")
		}
	}
}
