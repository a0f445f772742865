package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

var errFlowLogGone = errors.New("it no longer exists; run terraform apply again to create another")

// flowLogAtFault has the attribute that causes an error of CreateFlowLogs, by code.
var flowLogAtFault = map[string]string{"InvalidVpcID.NotFound": "vpc_id", "InvalidVpcId.NotFound": "vpc_id", "FlowLogAlreadyExists": "prefix"}

func (r *flowLogResource) describe(ctx context.Context, filters ...ec2types.Filter) ([]ec2types.FlowLog, error) {
	out, err := r.Client.EC2.DescribeFlowLogs(ctx, &ec2.DescribeFlowLogsInput{Filter: filters})
	if err != nil {
		return nil, err
	}
	return out.FlowLogs, nil
}

// describeOne returns the flow log that the filter selects, or nil.
func (r *flowLogResource) describeOne(ctx context.Context, filter ec2types.Filter) (*ec2types.FlowLog, error) {
	logs, err := r.describe(ctx, filter)
	if err != nil || len(logs) == 0 {
		return nil, err
	}
	return &logs[0], nil
}

// findByName returns the flow log that the provider created under a name, nil if there
// is none.
func (r *flowLogResource) findByName(ctx context.Context, name string, m flowLogModel) (*base.Found, error) {
	logs, err := r.describe(ctx, base.NamedFilters(name)...)
	if err != nil || len(logs) == 0 {
		return nil, err
	}
	found := &base.Found{ID: aws.ToString(logs[0].FlowLogId), Claim: base.EC2Claim(logs[0].Tags), Conflict: m.difference(logs[0])}
	if len(logs) > 1 {
		found.Conflict = fmt.Sprintf("%d flow logs have this name", len(logs))
	}
	return found, nil
}

// creation returns how the flow log is adopted or created.
func (r *flowLogResource) creation(m flowLogModel) base.Creation {
	name := m.Name.ValueString()
	return base.Creation{Kind: flowLogTypeName, Name: name, Write: base.WriteEC2ClaimOf(r.Client.EC2),
		Find: func(ctx context.Context) (*base.Found, error) { return r.findByName(ctx, name, m) },
		Create: func(ctx context.Context, claim base.Claim) (string, error) {
			if err := r.checkDelivery(ctx, m); err != nil {
				return "", err
			}
			return r.create(ctx, m, claim)
		}}
}

func (r *flowLogResource) create(ctx context.Context, m flowLogModel, claim base.Claim) (string, error) {
	partition, err := r.Client.Partition(ctx)
	if err != nil {
		return "", err
	}
	var failed error
	id, err := base.CreateOnce(ctx,
		func(ctx context.Context) (*string, error) {
			log, err := r.describeOne(ctx, claim.Filter())
			if err != nil || log == nil {
				return nil, err
			}
			return log.FlowLogId, nil
		},
		func(ctx context.Context, once ...func(*ec2.Options)) (*string, error) {
			out, err := r.Client.EC2.CreateFlowLogs(ctx, &ec2.CreateFlowLogsInput{
				ResourceIds:            []string{m.VPCID.ValueString()},
				ResourceType:           ec2types.FlowLogsResourceTypeVpc,
				TrafficType:            ec2types.TrafficType(m.TrafficType.ValueString()),
				LogDestinationType:     ec2types.LogDestinationTypeS3,
				LogDestination:         aws.String(m.destination(partition)),
				MaxAggregationInterval: aws.Int32(int32(m.AggregationSeconds.ValueInt64())), //nolint:gosec // 60 or 600
				TagSpecifications:      base.TagOnCreate(ec2types.ResourceTypeVpcFlowLog, append(m.tags(), claim.Tag())),
			}, once...)
			if err != nil {
				return nil, err
			}
			if failed = unsuccessful(out.Unsuccessful); failed != nil || len(out.FlowLogIds) == 0 {
				return nil, nil
			}
			return &out.FlowLogIds[0], nil
		})
	if err == nil {
		err = failed
	}
	if err == nil && id == nil {
		err = errors.New("EC2 returned neither a flow log nor an error; apply again")
	}
	if awswait.HasCode(err, "FlowLogAlreadyExists") {
		err = fmt.Errorf("the VPC has another flow log to this place, which this resource did not create; choose another prefix, or delete that flow log: %w", err)
	}
	if err != nil {
		return "", base.AtAttributeForCode(fmt.Errorf("create flow log to %s: %w", m.destination(partition), err), flowLogAtFault)
	}
	return *id, nil
}

func (r *flowLogResource) delete(ctx context.Context, id string) error {
	out, err := r.Client.EC2.DeleteFlowLogs(ctx, &ec2.DeleteFlowLogsInput{FlowLogIds: []string{id}})
	if err == nil {
		err = unsuccessful(out.Unsuccessful)
	}
	return awswait.Ignore(err, awswait.IsNotFound)
}

// unsuccessful returns the failures that are in a successful response.
func unsuccessful(items []ec2types.UnsuccessfulItem) error {
	var failed []error
	for _, item := range items {
		if item.Error != nil {
			failed = append(failed, &smithy.GenericAPIError{Code: aws.ToString(item.Error.Code), Message: aws.ToString(item.Error.Message)})
		}
	}
	return errors.Join(failed...)
}
