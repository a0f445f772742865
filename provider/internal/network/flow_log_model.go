package network

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// Aggregation intervals that flow logs have, in seconds (EC2 API reference,
// CreateFlowLogs).
const (
	aggregationShort = 60
	aggregationLong  = 600
)

type flowLogsModel struct {
	Bucket             types.String `tfsdk:"bucket"`
	Prefix             types.String `tfsdk:"prefix"`
	TrafficType        types.String `tfsdk:"traffic_type"`
	AggregationSeconds types.Int64  `tfsdk:"aggregation_seconds"`
}

// flowLogPrefix accepts a prefix of S3 keys. AWS refuses a directory AWSLogs, which
// it appends itself.
var flowLogPrefix = regexp.MustCompile(`^[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*$`)

func flowLogsAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Flow log of the VPC's traffic to an S3 bucket, in AWS's default format. Other flow logs of the VPC stay as they are. " +
			"The bucket is an `xeroops_bucket` with `receive_flow_logs`, or its policy lets `delivery.logs.amazonaws.com` write; the provider checks it, because AWS would otherwise replace the bucket's whole policy by its own. " +
			"If the bucket has a KMS key of yours, the key's policy must allow the same principal `kms:Encrypt`, `kms:Decrypt`, `kms:ReEncrypt*`, `kms:GenerateDataKey*` and `kms:DescribeKey`. " +
			"AWS cannot change a flow log: a change creates another one and deletes the former.",
		Attributes: map[string]schema.Attribute{
			"bucket": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "Name of the bucket.",
				Validators:          []validator.String{stringvalidator.LengthBetween(3, 63)},
			},
			"prefix": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "Prefix of the keys, without a slash at the start or end. AWS appends `/AWSLogs/ACCOUNT/vpcflowlogs/REGION/YYYY/MM/DD/`.",
				Validators: []validator.String{
					stringvalidator.RegexMatches(flowLogPrefix, "use letters, digits and -_.!*'()=, with single slashes between, and none at the start or end"),
					stringvalidator.NoneOf("AWSLogs"),
				},
			},
			"traffic_type": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(string(ec2types.TrafficTypeAll)),
				MarkdownDescription: "Traffic to log: `ALL`, or `ACCEPT` or `REJECT` by security groups and network access lists. Default: `ALL`.",
				Validators:          []validator.String{stringvalidator.OneOf("ALL", "ACCEPT", "REJECT")},
			},
			"aggregation_seconds": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(aggregationLong),
				MarkdownDescription: "Longest time that a record of a flow covers, in seconds: `60` or `600`. With `60` there are more records, which AWS charges by size. Default: `600`.",
				Validators:          []validator.Int64{int64validator.OneOf(aggregationShort, aggregationLong)},
			},
		},
	}
}

// destination returns the ARN that a flow log has as its destination.
func (m *flowLogsModel) destination(partition string) string {
	arn := "arn:" + partition + ":s3:::" + m.Bucket.ValueString()
	if prefix := m.Prefix.ValueString(); prefix != "" {
		arn += "/" + prefix + "/"
	}
	return arn
}

// same reports whether a flow log is the one of the model.
func (m *flowLogsModel) same(log ec2types.FlowLog, partition string) bool {
	return sameDestination(log, m.destination(partition)) && string(log.TrafficType) == m.TrafficType.ValueString() &&
		int64(aws.ToInt32(log.MaxAggregationInterval)) == m.AggregationSeconds.ValueInt64()
}

func sameDestination(log ec2types.FlowLog, destination string) bool {
	return strings.TrimSuffix(aws.ToString(log.LogDestination), "/") == strings.TrimSuffix(destination, "/")
}

// flattenFlowLog returns a flow log as a model.
func flattenFlowLog(log ec2types.FlowLog) *flowLogsModel {
	_, place, _ := strings.Cut(aws.ToString(log.LogDestination), ":::")
	bucket, prefix, _ := strings.Cut(place, "/")
	m := &flowLogsModel{
		Bucket:             types.StringValue(bucket),
		Prefix:             types.StringNull(),
		TrafficType:        types.StringValue(string(log.TrafficType)),
		AggregationSeconds: types.Int64Value(int64(aws.ToInt32(log.MaxAggregationInterval))),
	}
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		m.Prefix = types.StringValue(prefix)
	}
	return m
}

// flowLogsFromAWS returns the flow log that the provider created, nil if there is
// none, and how several of them differ from one: an interrupted change leaves two.
func flowLogsFromAWS(found []ec2types.FlowLog, inState *flowLogsModel, partition string) (*flowLogsModel, []string) {
	if len(found) == 0 {
		return nil, nil
	}
	shown, drift := found[0], []string(nil)
	if len(found) > 1 {
		drift = append(drift, fmt.Sprintf("the VPC has %d flow logs of this resource", len(found)))
	}
	for _, log := range found {
		if inState != nil && inState.same(log, partition) {
			shown = log
		}
	}
	return flattenFlowLog(shown), drift
}

// undelivered returns why AWS does not deliver flow logs, or nil.
func undelivered(found []ec2types.FlowLog) error {
	for _, log := range found {
		if aws.ToString(log.DeliverLogsStatus) == "FAILED" {
			return fmt.Errorf("AWS cannot deliver flow log %s to %s: %s. Check that the bucket exists, that its policy lets delivery.logs.amazonaws.com write, and that the policy of its KMS key does",
				aws.ToString(log.FlowLogId), aws.ToString(log.LogDestination), aws.ToString(log.DeliverLogsErrorMessage))
		}
	}
	return nil
}
