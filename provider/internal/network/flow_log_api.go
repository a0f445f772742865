package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// findFlowLogs returns the flow logs of a VPC that the provider created.
func (r *vpcResource) findFlowLogs(ctx context.Context, vpc string) ([]ec2types.FlowLog, error) {
	out, err := r.Client.EC2.DescribeFlowLogs(ctx, &ec2.DescribeFlowLogsInput{
		Filter: []ec2types.Filter{base.Filter("resource-id", vpc), base.Filter("tag-key", base.TagName)}})
	if err != nil {
		return nil, err
	}
	return out.FlowLogs, nil
}

// ensureFlowLog creates the flow log of the model, if there is one, and deletes
// others that the provider created. AWS refuses a second flow log with the same
// destination, so that only one with another destination is created before the
// former is deleted.
func (r *vpcResource) ensureFlowLog(ctx context.Context, vpc string, p *vpcParts, m vpcModel) error {
	var kept *ec2types.FlowLog
	var before, after []string // ids to delete before and after the create
	for _, log := range p.flowLogs {
		switch wanted := m.FlowLogs; {
		case wanted != nil && kept == nil && wanted.same(log, p.partition):
			kept = &log
		case wanted != nil && sameDestination(log, wanted.destination(p.partition)):
			before = append(before, aws.ToString(log.FlowLogId))
		default:
			after = append(after, aws.ToString(log.FlowLogId))
		}
	}
	tags := base.EC2Tags(m.Name.ValueString(), m.TagsAll, nil)
	if kept != nil {
		if err := base.SetEC2Tags(ctx, r.Client.EC2, aws.ToString(kept.FlowLogId), kept.Tags, tags, m.managed); err != nil {
			return err
		}
		return r.deleteFlowLogs(ctx, append(before, after...))
	}
	if m.FlowLogs == nil {
		return r.deleteFlowLogs(ctx, append(before, after...))
	}
	err := r.checkDelivery(ctx, *m.FlowLogs, p.partition)
	if err == nil {
		err = r.deleteFlowLogs(ctx, before)
	}
	if err == nil {
		err = r.createFlowLog(ctx, vpc, p.partition, *m.FlowLogs, tags)
	}
	if err != nil {
		return base.AtAttribute(path.Root("flow_logs"), err)
	}
	return r.deleteFlowLogs(ctx, after)
}

func (r *vpcResource) createFlowLog(ctx context.Context, vpc, partition string, m flowLogsModel, tags []ec2types.Tag) error {
	var failed error
	_, err := base.CreateOnce(ctx,
		func(ctx context.Context) (*string, error) {
			created, err := r.findFlowLogs(ctx, vpc)
			for _, log := range created {
				if m.same(log, partition) {
					return log.FlowLogId, nil
				}
			}
			return nil, err
		},
		func(ctx context.Context, once ...func(*ec2.Options)) (*string, error) {
			out, err := r.Client.EC2.CreateFlowLogs(ctx, &ec2.CreateFlowLogsInput{
				ResourceIds:            []string{vpc},
				ResourceType:           ec2types.FlowLogsResourceTypeVpc,
				TrafficType:            ec2types.TrafficType(m.TrafficType.ValueString()),
				LogDestinationType:     ec2types.LogDestinationTypeS3,
				LogDestination:         aws.String(m.destination(partition)),
				MaxAggregationInterval: aws.Int32(int32(m.AggregationSeconds.ValueInt64())), //nolint:gosec // 60 or 600
				TagSpecifications:      base.TagOnCreate(ec2types.ResourceTypeVpcFlowLog, tags),
			}, once...)
			if err != nil {
				return nil, err
			}
			failed = unsuccessful(out.Unsuccessful)
			return &vpc, nil
		})
	if err == nil {
		err = failed
	}
	if awswait.HasCode(err, "FlowLogAlreadyExists") {
		err = fmt.Errorf("the VPC has another flow log to this place, which this resource did not create; choose another prefix, or delete that flow log: %w", err)
	}
	if err != nil {
		return fmt.Errorf("create flow log to %s: %w", m.destination(partition), err)
	}
	return nil
}

func (r *vpcResource) deleteFlowLogs(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	out, err := r.Client.EC2.DeleteFlowLogs(ctx, &ec2.DeleteFlowLogsInput{FlowLogIds: ids})
	if err == nil {
		err = unsuccessful(out.Unsuccessful)
	}
	if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
		return fmt.Errorf("delete flow logs %v: %w", ids, err)
	}
	return nil
}

// deleteAllFlowLogs deletes the flow logs that the provider created for a VPC.
func (r *vpcResource) deleteAllFlowLogs(ctx context.Context, vpc string) error {
	found, err := r.findFlowLogs(ctx, vpc)
	if err != nil {
		return err
	}
	var ids []string
	for _, log := range found {
		ids = append(ids, aws.ToString(log.FlowLogId))
	}
	return r.deleteFlowLogs(ctx, ids)
}

// unsuccessful returns the failures that are in a successful response, except that
// of a resource that does not exist.
func unsuccessful(items []ec2types.UnsuccessfulItem) error {
	var failed []error
	for _, item := range items {
		if item.Error == nil {
			continue
		}
		err := error(&smithy.GenericAPIError{Code: aws.ToString(item.Error.Code), Message: aws.ToString(item.Error.Message)})
		failed = append(failed, awswait.Ignore(err, awswait.IsNotFound))
	}
	return errors.Join(failed...)
}
