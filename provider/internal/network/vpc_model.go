package network

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

type vpcModel struct {
	ID                     types.String   `tfsdk:"id"`
	ARN                    types.String   `tfsdk:"arn"`
	Name                   types.String   `tfsdk:"name"`
	CIDR                   types.String   `tfsdk:"cidr"`
	InternetGatewayID      types.String   `tfsdk:"internet_gateway_id"`
	S3EndpointID           types.String   `tfsdk:"s3_endpoint_id"`
	DefaultSecurityGroupID types.String   `tfsdk:"default_security_group_id"`
	Drift                  types.Set      `tfsdk:"drift"`
	Tags                   types.Map      `tfsdk:"tags"`
	TagsAll                types.Map      `tfsdk:"tags_all"`
	Timeouts               timeouts.Value `tfsdk:"timeouts"`
}

// vpcParts is a VPC as it is at AWS, with all that belongs to it. A part that
// is missing is nil.
type vpcParts struct {
	vpc          ec2types.Vpc
	gateway      *ec2types.InternetGateway
	detached     *ec2types.InternetGateway // made for the VPC; known only while it is made or repaired
	endpoint     *ec2types.VpcEndpoint
	defaultGroup *ec2types.SecurityGroup
	dnsSupport   bool
	dnsHostnames bool
	wantedPolicy string // of the endpoint
	arn          string
}

// setID notes the id, and nulls what is not known yet: a state with unknown
// values would be lost if the create went wrong.
func (m *vpcModel) setID(id string) {
	m.ID = types.StringValue(id)
	for _, unknown := range []*types.String{&m.ARN, &m.InternetGatewayID, &m.S3EndpointID, &m.DefaultSecurityGroupID} {
		*unknown = types.StringNull()
	}
}

func (m *vpcModel) fromAWS(found *vpcParts, defaultTags map[string]string) {
	actual := base.FlattenEC2Tags(found.vpc.Tags)
	m.ID = types.StringPointerValue(found.vpc.VpcId)
	m.ARN = types.StringValue(found.arn)
	m.CIDR = types.StringPointerValue(found.vpc.CidrBlock)
	m.Name = types.StringValue(actual[base.TagName])
	m.setParts(found)
	m.Drift = base.Drift(found.drift())
	m.Tags, m.TagsAll = base.TagsFromAWS(actual, defaultTags, m.Tags)
}

// setParts notes the ids of the parts. One that is gone is null, so that the
// next plan knows that its id will change.
func (m *vpcModel) setParts(found *vpcParts) {
	m.InternetGatewayID, m.S3EndpointID, m.DefaultSecurityGroupID = types.StringNull(), types.StringNull(), types.StringNull()
	if found.gateway != nil {
		m.InternetGatewayID = types.StringPointerValue(found.gateway.InternetGatewayId)
	}
	if found.endpoint != nil {
		m.S3EndpointID = types.StringPointerValue(found.endpoint.VpcEndpointId)
	}
	if found.defaultGroup != nil {
		m.DefaultSecurityGroupID = types.StringPointerValue(found.defaultGroup.GroupId)
	}
}

// drift lists how the parts differ from what the provider makes.
func (p *vpcParts) drift() []string {
	var found []string
	if p.gateway == nil {
		found = append(found, "no internet gateway is attached")
	}
	switch {
	case p.endpoint == nil:
		found = append(found, "the gateway endpoint for S3 is gone")
	case !base.SamePolicy(aws.ToString(p.endpoint.PolicyDocument), p.wantedPolicy):
		found = append(found, "the policy of the S3 endpoint was changed")
	}
	if g := p.defaultGroup; g != nil && len(g.IpPermissions)+len(g.IpPermissionsEgress) > 0 {
		found = append(found, fmt.Sprintf("the default security group has %d rules", len(g.IpPermissions)+len(g.IpPermissionsEgress)))
	}
	if !p.dnsSupport || !p.dnsHostnames {
		found = append(found, "DNS support or DNS host names are turned off")
	}
	return found
}
