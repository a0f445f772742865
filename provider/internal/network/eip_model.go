package network

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

type eipModel struct {
	ID       types.String   `tfsdk:"id"`
	ARN      types.String   `tfsdk:"arn"`
	Name     types.String   `tfsdk:"name"`
	PublicIP types.String   `tfsdk:"public_ip"`
	Tags     types.Map      `tfsdk:"tags"`
	TagsAll  types.Map      `tfsdk:"tags_all"`
	Timeouts timeouts.Value `tfsdk:"timeouts"`

	managed base.ManagedTags // of an update; not in the state
}

func (m *eipModel) fromAWS(address ec2types.Address, arn string, settings base.TagSettings) {
	actual := base.FlattenEC2Tags(address.Tags)
	m.ID = types.StringPointerValue(address.AllocationId)
	m.ARN = types.StringValue(arn)
	m.Name = types.StringValue(actual[base.TagName])
	m.PublicIP = types.StringPointerValue(address.PublicIp)
	m.Tags, m.TagsAll = settings.TagsFromAWS(actual, m.Tags, m.TagsAll)
}

// associatedWith returns a text with what the address is associated with, or "".
func associatedWith(a ec2types.Address) string {
	target := aws.ToString(a.InstanceId)
	if target == "" {
		target = aws.ToString(a.NetworkInterfaceId)
	}
	if id := aws.ToString(a.AssociationId); id != "" || target != "" {
		return fmt.Sprintf("associated with %s (%s)", target, id)
	}
	return ""
}
