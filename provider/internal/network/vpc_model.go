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
	ID                     types.String      `tfsdk:"id"`
	ARN                    types.String      `tfsdk:"arn"`
	Name                   types.String      `tfsdk:"name"`
	CIDR                   types.String      `tfsdk:"cidr"`
	IPv6                   types.Bool        `tfsdk:"ipv6"`
	IPv6CIDR               types.String      `tfsdk:"ipv6_cidr"`
	DNSFirewall            *dnsFirewallModel `tfsdk:"dns_firewall"`
	InternetGatewayID      types.String      `tfsdk:"internet_gateway_id"`
	S3EndpointID           types.String      `tfsdk:"s3_endpoint_id"`
	DefaultSecurityGroupID types.String      `tfsdk:"default_security_group_id"`
	Drift                  types.Set         `tfsdk:"drift"`
	Tags                   types.Map         `tfsdk:"tags"`
	TagsAll                types.Map         `tfsdk:"tags_all"`
	Timeouts               timeouts.Value    `tfsdk:"timeouts"`

	managed base.ManagedTags // of an update; not in the state
}

// vpcParts is the actual state of a VPC and its parts. A missing part is nil.
type vpcParts struct {
	isNew        bool // just created: has no subnets, and no parts but those of EC2
	vpc          ec2types.Vpc
	ipv6         *ec2types.VpcIpv6CidrBlockAssociation
	gateway      *ec2types.InternetGateway
	detached     *ec2types.InternetGateway // created for the VPC; set only for create and repair
	endpoint     *ec2types.VpcEndpoint
	defaultGroup *ec2types.SecurityGroup
	dnsSupport   bool
	dnsHostnames bool
	wantedPolicy string // of the endpoint
	arn          string
	partition    string
}

// setID sets the id, and null for all unknown values: Terraform discards a state
// with unknown values if the create fails.
func (m *vpcModel) setID(id string) {
	m.ID = types.StringValue(id)
	for _, unknown := range []*types.String{&m.ARN, &m.IPv6CIDR, &m.InternetGatewayID, &m.S3EndpointID, &m.DefaultSecurityGroupID} {
		*unknown = types.StringNull()
	}
}

func (m *vpcModel) fromAWS(found *vpcParts, settings base.TagSettings) {
	actual := base.FlattenEC2Tags(found.vpc.Tags)
	m.ID = types.StringPointerValue(found.vpc.VpcId)
	m.ARN = types.StringValue(found.arn)
	m.CIDR = types.StringPointerValue(found.vpc.CidrBlock)
	m.IPv6 = types.BoolValue(found.ipv6 != nil)
	m.Name = types.StringValue(actual[base.TagName])
	m.setParts(found)
	m.Drift = base.Drift(found.drift())
	m.Tags, m.TagsAll = settings.TagsFromAWS(actual, m.Tags, m.TagsAll)
}

// setParts sets the ids of the parts. A missing part is null, so that the next plan
// expects a new id.
func (m *vpcModel) setParts(found *vpcParts) {
	m.InternetGatewayID, m.S3EndpointID, m.DefaultSecurityGroupID, m.IPv6CIDR = types.StringNull(), types.StringNull(), types.StringNull(), types.StringNull()
	if found.ipv6 != nil {
		m.IPv6CIDR = types.StringPointerValue(found.ipv6.Ipv6CidrBlock)
	}
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

// drift returns how the parts differ from what the provider creates.
func (p *vpcParts) drift() []string {
	var found []string
	if p.gateway == nil {
		found = append(found, "no internet gateway is attached")
	}
	switch {
	case p.endpoint == nil:
		found = append(found, "the gateway endpoint for S3 is missing")
	case !base.SamePolicy(aws.ToString(p.endpoint.PolicyDocument), p.wantedPolicy):
		found = append(found, "the policy of the S3 endpoint was changed")
	}
	if g := p.defaultGroup; g != nil && len(g.IpPermissions)+len(g.IpPermissionsEgress) > 0 {
		found = append(found, fmt.Sprintf("the default security group has %d rules", len(g.IpPermissions)+len(g.IpPermissionsEgress)))
	}
	if !p.dnsSupport || !p.dnsHostnames {
		found = append(found, "DNS support or DNS host names are disabled")
	}
	return found
}
