package network

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// ensureGateway attaches an internet gateway to the VPC: one that an
// interrupted create left, else a new one.
func (r *vpcResource) ensureGateway(ctx context.Context, id string, p *vpcParts, m vpcModel) error {
	if p.gateway != nil {
		return nil
	}
	gateway, err := r.findDetachedGateway(ctx, id)
	if err != nil {
		return err
	}
	if gateway == nil {
		out, err := r.Client.EC2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{
			TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeInternetGateway, base.EC2Tags(m.Name.ValueString(), m.TagsAll, map[string]string{tagVPC: id})),
		})
		if err != nil {
			return fmt.Errorf("create internet gateway: %w", err)
		}
		gateway = out.InternetGateway
	}
	_, err = awswait.Retry(ctx, awswait.CreatedVisible, awswait.IsNotFound, func(ctx context.Context) (any, error) {
		return r.Client.EC2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: gateway.InternetGatewayId, VpcId: &id})
	})
	if err != nil && !awswait.HasCode(err, "Resource.AlreadyAssociated") {
		return fmt.Errorf("attach internet gateway %s: %w", aws.ToString(gateway.InternetGatewayId), err)
	}
	p.gateway = gateway
	return nil
}

func (r *vpcResource) findDetachedGateway(ctx context.Context, id string) (*ec2types.InternetGateway, error) {
	out, err := r.Client.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: []ec2types.Filter{base.Filter("tag:"+tagVPC, id)}})
	if err != nil || len(out.InternetGateways) == 0 {
		return nil, err
	}
	return &out.InternetGateways[0], nil
}

func (r *vpcResource) s3ServiceName() string { return "com.amazonaws." + r.Client.Region + ".s3" }

// findEndpoint returns the VPC's gateway endpoint for S3, or nil.
func (r *vpcResource) findEndpoint(ctx context.Context, id string) (*ec2types.VpcEndpoint, error) {
	out, err := r.Client.EC2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: []ec2types.Filter{
		base.Filter("vpc-id", id), base.Filter("service-name", r.s3ServiceName())}})
	if err != nil {
		return nil, err
	}
	for _, e := range out.VpcEndpoints {
		if s := e.State; s != ec2types.StateDeleted && s != ec2types.StateDeleting {
			return &e, nil
		}
	}
	return nil, nil
}

func (r *vpcResource) ensureEndpoint(ctx context.Context, id string, p *vpcParts, m vpcModel) error {
	if p.endpoint == nil {
		return r.createEndpoint(ctx, id, p, m)
	}
	if samePolicy(aws.ToString(p.endpoint.PolicyDocument), p.wantedPolicy) {
		return nil
	}
	_, err := r.Client.EC2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: p.endpoint.VpcEndpointId, PolicyDocument: &p.wantedPolicy})
	if err != nil {
		return fmt.Errorf("set the policy of endpoint %s: %w", aws.ToString(p.endpoint.VpcEndpointId), err)
	}
	return nil
}

// createEndpoint makes the endpoint, with a route in the table of each private
// and public subnet that exists already: there are some if somebody deleted
// the endpoint.
func (r *vpcResource) createEndpoint(ctx context.Context, id string, p *vpcParts, m vpcModel) error {
	tables, err := r.findSubnetRouteTables(ctx, id)
	if err != nil {
		return err
	}
	out, err := r.Client.EC2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		VpcId:           &id,
		ServiceName:     aws.String(r.s3ServiceName()),
		VpcEndpointType: ec2types.VpcEndpointTypeGateway,
		PolicyDocument:  &p.wantedPolicy,
		RouteTableIds:   tables,
		TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeVpcEndpoint,
			base.EC2Tags(m.Name.ValueString(), m.TagsAll, nil)),
	})
	if err != nil {
		return fmt.Errorf("create gateway endpoint for S3: %w", err)
	}
	p.endpoint = out.VpcEndpoint
	return nil
}

func (r *vpcResource) findSubnetRouteTables(ctx context.Context, id string) ([]string, error) {
	var ids []string
	pages := ec2.NewDescribeRouteTablesPaginator(r.Client.EC2, &ec2.DescribeRouteTablesInput{
		Filters: []ec2types.Filter{base.Filter("vpc-id", id), base.Filter("tag-key", base.TagName)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range page.RouteTables {
			ids = append(ids, aws.ToString(t.RouteTableId))
		}
	}
	return ids, nil
}

// endpointPolicy allows S3 calls on buckets of this account alone, so that a
// machine without any other way out cannot carry data to somebody else's.
func (r *vpcResource) endpointPolicy(ctx context.Context) (string, error) {
	account, err := r.Client.AccountID(ctx)
	if err != nil {
		return "", err
	}
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Sid":       "BucketsOfThisAccount",
			"Effect":    "Allow",
			"Principal": "*",
			"Action":    "s3:*",
			"Resource":  "*",
			"Condition": map[string]any{"StringEquals": map[string]any{"aws:ResourceAccount": account}},
		}},
	})
	return string(policy), err
}

// delete removes the VPC and its parts; what is gone already is fine.
func (r *vpcResource) delete(ctx context.Context, id string) error {
	err := base.ParallelAll(ctx,
		func(ctx context.Context) error { return r.deleteEndpoint(ctx, id) },
		func(ctx context.Context) error { return r.deleteGateway(ctx, id) },
	)
	if err != nil {
		return err
	}
	_, err = awswait.Retry(ctx, awswait.DependencyRelease, awswait.IsInUse, func(ctx context.Context) (any, error) {
		return r.Client.EC2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &id})
	})
	return awswait.Ignore(err, awswait.IsNotFound)
}

func (r *vpcResource) deleteEndpoint(ctx context.Context, id string) error {
	endpoint, err := r.findEndpoint(ctx, id)
	if err != nil || endpoint == nil {
		return err
	}
	out, err := r.Client.EC2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*endpoint.VpcEndpointId}})
	if err != nil {
		return fmt.Errorf("delete endpoint %s: %w", *endpoint.VpcEndpointId, err)
	}
	for _, u := range out.Unsuccessful { // its failures come in a successful answer
		if code := aws.ToString(u.Error.Code); code != "InvalidVpcEndpoint.NotFound" && code != "InvalidVpcEndpointId.NotFound" {
			return fmt.Errorf("delete endpoint %s: %s: %s", aws.ToString(u.ResourceId), code, aws.ToString(u.Error.Message))
		}
	}
	return nil
}

func (r *vpcResource) deleteGateway(ctx context.Context, id string) error {
	out, err := r.Client.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: []ec2types.Filter{base.Filter("tag:"+tagVPC, id)}})
	if err != nil {
		return err
	}
	for _, gateway := range out.InternetGateways {
		for _, attached := range gateway.Attachments {
			// Its addresses must be gone first: DependencyViolation until then.
			_, err := awswait.Retry(ctx, awswait.DependencyRelease, awswait.IsInUse, func(ctx context.Context) (any, error) {
				return r.Client.EC2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: gateway.InternetGatewayId, VpcId: attached.VpcId})
			})
			if err = awswait.Ignore(err, gatewayGone); err != nil {
				return fmt.Errorf("detach internet gateway %s: %w", *gateway.InternetGatewayId, err)
			}
		}
		_, err := r.Client.EC2.DeleteInternetGateway(ctx, &ec2.DeleteInternetGatewayInput{InternetGatewayId: gateway.InternetGatewayId})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("delete internet gateway %s: %w", *gateway.InternetGatewayId, err)
		}
	}
	return nil
}

func gatewayGone(err error) bool {
	return awswait.IsNotFound(err) || awswait.HasCode(err, "Gateway.NotAttached")
}
