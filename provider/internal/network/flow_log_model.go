package network

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// Aggregation intervals that flow logs have, in seconds (EC2 API reference,
// CreateFlowLogs).
const (
	aggregationShort = 60
	aggregationLong  = 600
)

type flowLogModel struct {
	ID                 types.String   `tfsdk:"id"`
	ARN                types.String   `tfsdk:"arn"`
	Name               types.String   `tfsdk:"name"`
	VPCID              types.String   `tfsdk:"vpc_id"`
	Bucket             types.String   `tfsdk:"bucket"`
	Prefix             types.String   `tfsdk:"prefix"`
	TrafficType        types.String   `tfsdk:"traffic_type"`
	AggregationSeconds types.Int64    `tfsdk:"aggregation_seconds"`
	Tags               types.Map      `tfsdk:"tags"`
	TagsAll            types.Map      `tfsdk:"tags_all"`
	Timeouts           timeouts.Value `tfsdk:"timeouts"`
}

// flowLogPrefix accepts a prefix of S3 keys. AWS refuses a directory AWSLogs, which
// it appends itself.
var flowLogPrefix = regexp.MustCompile(`^[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*$`)

// destination returns the ARN that a flow log has as its destination.
func (m *flowLogModel) destination(partition string) string {
	arn := "arn:" + partition + ":s3:::" + m.Bucket.ValueString()
	if prefix := m.Prefix.ValueString(); prefix != "" {
		arn += "/" + prefix + "/"
	}
	return arn
}

func (m *flowLogModel) tags() []ec2types.Tag {
	return base.EC2Tags(m.Name.ValueString(), m.TagsAll, nil)
}

// difference returns how a flow log differs from the one of the model, or "". Values
// of the model that are not known yet do not differ.
func (m *flowLogModel) difference(log ec2types.FlowLog) string {
	var actual flowLogModel
	actual.setLog(log)
	switch {
	case !m.VPCID.IsUnknown() && !actual.VPCID.Equal(m.VPCID):
		return "it is of " + actual.VPCID.ValueString()
	case !m.Bucket.IsUnknown() && !actual.Bucket.Equal(m.Bucket), !m.Prefix.IsUnknown() && !actual.Prefix.Equal(m.Prefix):
		return "it logs to " + aws.ToString(log.LogDestination)
	case !m.TrafficType.IsUnknown() && !actual.TrafficType.Equal(m.TrafficType):
		return "its traffic type is " + actual.TrafficType.ValueString()
	case !m.AggregationSeconds.IsUnknown() && !actual.AggregationSeconds.Equal(m.AggregationSeconds):
		return fmt.Sprintf("its records cover up to %d seconds", actual.AggregationSeconds.ValueInt64())
	}
	return ""
}

func (m *flowLogModel) fromAWS(log ec2types.FlowLog, settings base.TagSettings) {
	actual := base.FlattenEC2Tags(log.Tags)
	m.ID = types.StringPointerValue(log.FlowLogId)
	m.Name = types.StringValue(actual[base.TagName])
	m.setLog(log)
	m.Tags, m.TagsAll = settings.TagsFromAWS(actual, m.Tags, m.TagsAll)
}

// setLog sets what a flow log has from its creation on.
func (m *flowLogModel) setLog(log ec2types.FlowLog) {
	_, place, _ := strings.Cut(aws.ToString(log.LogDestination), ":::")
	bucket, prefix, _ := strings.Cut(place, "/")
	m.VPCID = types.StringPointerValue(log.ResourceId)
	m.Bucket = types.StringValue(bucket)
	m.Prefix = types.StringPointerValue(base.Optional(strings.TrimSuffix(prefix, "/")))
	m.TrafficType = types.StringValue(string(log.TrafficType))
	m.AggregationSeconds = types.Int64Value(int64(aws.ToInt32(log.MaxAggregationInterval)))
}

// undelivered returns why AWS does not deliver a flow log, or nil.
func undelivered(log ec2types.FlowLog) error {
	if aws.ToString(log.DeliverLogsStatus) != "FAILED" {
		return nil
	}
	return fmt.Errorf("AWS cannot deliver flow log %s to %s: %s. Check that the bucket exists, that its policy lets delivery.logs.amazonaws.com write, and that the policy of its KMS key does",
		aws.ToString(log.FlowLogId), aws.ToString(log.LogDestination), aws.ToString(log.DeliverLogsErrorMessage))
}
