package network

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	smithyrand "github.com/aws/smithy-go/rand"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// ensureGateway attaches an internet gateway to the VPC: one that an interrupted
// create left, otherwise a new one.
func (r *vpcResource) ensureGateway(ctx context.Context, id string, p *vpcParts, m vpcModel) error {
	tags := base.EC2Tags(m.Name.ValueString(), m.TagsAll, map[string]string{tagVPC: id})
	if p.gateway != nil {
		return base.SetEC2Tags(ctx, r.Client.EC2, aws.ToString(p.gateway.InternetGatewayId), p.gateway.Tags, tags, m.managed)
	}
	gateway, err := p.detached, error(nil)
	if gateway == nil {
		if gateway, err = r.createGateway(ctx, id, tags); err != nil {
			return fmt.Errorf("create internet gateway: %w", err)
		}
	}
	err = visible(ctx, func(ctx context.Context) (any, error) {
		return r.Client.EC2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: gateway.InternetGatewayId, VpcId: &id})
	})
	if err != nil && !awswait.HasCode(err, "Resource.AlreadyAssociated") {
		return fmt.Errorf("attach internet gateway %s: %w", aws.ToString(gateway.InternetGatewayId), err)
	}
	p.gateway = gateway
	return nil
}

func (r *vpcResource) createGateway(ctx context.Context, vpc string, tags []ec2types.Tag) (*ec2types.InternetGateway, error) {
	return base.CreateOnce(ctx,
		func(ctx context.Context) (*ec2types.InternetGateway, error) { return r.findDetachedGateway(ctx, vpc) },
		func(ctx context.Context, once ...func(*ec2.Options)) (*ec2types.InternetGateway, error) {
			out, err := r.Client.EC2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{
				TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeInternetGateway, tags),
			}, once...)
			if err != nil {
				return nil, err
			}
			return out.InternetGateway, nil
		})
}

// findDetachedGateway returns the gateway that was created for the VPC and is not
// attached, or nil.
func (r *vpcResource) findDetachedGateway(ctx context.Context, id string) (*ec2types.InternetGateway, error) {
	out, err := r.Client.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: []ec2types.Filter{base.Filter("tag:"+tagVPC, id)}})
	if err != nil {
		return nil, err
	}
	for _, gateway := range out.InternetGateways {
		if len(gateway.Attachments) == 0 {
			return &gateway, nil
		}
	}
	return nil, nil
}

func (r *vpcResource) ensureEndpoint(ctx context.Context, id string, p *vpcParts, m vpcModel) error {
	if p.endpoint == nil {
		return r.createEndpoint(ctx, id, p, m)
	}
	err := base.SetEC2Tags(ctx, r.Client.EC2, aws.ToString(p.endpoint.VpcEndpointId), p.endpoint.Tags, r.tags(m), m.managed)
	if err != nil || base.SamePolicy(aws.ToString(p.endpoint.PolicyDocument), p.wantedPolicy) {
		return err
	}
	_, err = r.Client.EC2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: p.endpoint.VpcEndpointId, PolicyDocument: &p.wantedPolicy})
	if err != nil {
		return fmt.Errorf("set the policy of endpoint %s: %w", aws.ToString(p.endpoint.VpcEndpointId), err)
	}
	return nil
}

// createEndpoint creates the endpoint, with a route in the table of each existing
// subnet: there are some if the endpoint was deleted outside of Terraform.
func (r *vpcResource) createEndpoint(ctx context.Context, id string, p *vpcParts, m vpcModel) error {
	var tables []string
	if !p.isNew {
		var err error
		if tables, err = r.findSubnetRouteTables(ctx, id); err != nil {
			return err
		}
	}
	token, err := smithyrand.NewUUID(rand.Reader).GetUUID() // the SDK does not generate one for this call
	if err != nil {
		return err
	}
	out, err := r.Client.EC2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{
		ClientToken:       &token,
		VpcId:             &id,
		ServiceName:       aws.String(base.S3ServiceName(r.Client.Region)),
		VpcEndpointType:   ec2types.VpcEndpointTypeGateway,
		PolicyDocument:    &p.wantedPolicy,
		RouteTableIds:     tables,
		TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeVpcEndpoint, r.tags(m)),
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

// endpointPolicy returns a policy that allows S3 calls only on buckets of this
// account, so that nodes without internet access cannot send data to other
// accounts.
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

// delete deletes the VPC and its parts. Missing parts are not an error.
func (r *vpcResource) delete(ctx context.Context, id string, hasFirewall bool) error {
	// What is in the subnets of others needs the endpoint and the gateway.
	if err := awaitNone(ctx, "the VPC", subnetsIn(r.Client.EC2, id)); err != nil {
		return err
	}
	err := base.ParallelAll(ctx,
		func(ctx context.Context) error {
			if err := r.deleteEndpoint(ctx, id); err != nil {
				return err
			}
			return r.deleteUnusedTables(ctx, id)
		},
		func(ctx context.Context) error { return r.deleteGateway(ctx, id) },
		func(ctx context.Context) error {
			if !hasFirewall {
				return nil
			}
			return r.firewall(id).delete(ctx)
		},
	)
	if err != nil {
		return err
	}
	err = deleteUnused(ctx, "the VPC", inWholeVPC(r.Client.EC2, id), func(ctx context.Context) error {
		_, err := r.Client.EC2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &id})
		return err
	})
	return awswait.Ignore(err, awswait.IsNotFound)
}

// deleteUnusedTables deletes the route tables of subnets that are gone. A destroy that
// ended between the deletion of a subnet and that of its table left one, and the
// subnet is no longer in the state.
func (r *vpcResource) deleteUnusedTables(ctx context.Context, id string) error {
	out, err := r.Client.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{
		base.Filter("vpc-id", id), base.Filter("tag-key", base.TagName)}})
	if err != nil {
		return err
	}
	for _, table := range out.RouteTables {
		if len(table.Associations) > 0 {
			continue
		}
		if err := deleteTable(ctx, r.Client.EC2, table.RouteTableId); err != nil {
			return err
		}
	}
	return nil
}

func (r *vpcResource) deleteEndpoint(ctx context.Context, id string) error {
	endpoint, err := found(r.Describe.S3Endpoints.Get(ctx, id))
	if err != nil || endpoint == nil {
		return err
	}
	out, err := r.Client.EC2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*endpoint.VpcEndpointId}})
	if err != nil {
		return fmt.Errorf("delete endpoint %s: %w", *endpoint.VpcEndpointId, err)
	}
	for _, u := range out.Unsuccessful { // failures are in a successful response
		if code := aws.ToString(u.Error.Code); code != "InvalidVpcEndpoint.NotFound" && code != "InvalidVpcEndpointId.NotFound" {
			return fmt.Errorf("delete endpoint %s: %s: %s", aws.ToString(u.ResourceId), code, aws.ToString(u.Error.Message))
		}
	}
	return nil
}

// deleteGateway deletes the gateway that is attached to the VPC, and one that was
// created for it and not attached.
func (r *vpcResource) deleteGateway(ctx context.Context, id string) error {
	gateways := map[string]ec2types.InternetGateway{}
	for _, filter := range []ec2types.Filter{base.Filter("attachment.vpc-id", id), base.Filter("tag:"+tagVPC, id)} {
		out, err := r.Client.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: []ec2types.Filter{filter}})
		if err != nil {
			return err
		}
		for _, gateway := range out.InternetGateways {
			gateways[aws.ToString(gateway.InternetGatewayId)] = gateway
		}
	}
	for gatewayID, gateway := range gateways {
		for _, attached := range gateway.Attachments {
			// DependencyViolation until the VPC has no public addresses.
			err := deleteUnused(ctx, "the internet gateway", interfacesIn(r.Client.EC2, base.Filter("vpc-id", id), true), func(ctx context.Context) error {
				_, err := r.Client.EC2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: &gatewayID, VpcId: attached.VpcId})
				return err
			})
			if err = awswait.Ignore(err, gatewayGone); err != nil {
				return fmt.Errorf("detach internet gateway %s: %w", gatewayID, err)
			}
		}
		_, err := r.Client.EC2.DeleteInternetGateway(ctx, &ec2.DeleteInternetGatewayInput{InternetGatewayId: &gatewayID})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("delete internet gateway %s: %w", gatewayID, err)
		}
	}
	return nil
}

func gatewayGone(err error) bool {
	return awswait.IsNotFound(err) || awswait.HasCode(err, "Gateway.NotAttached")
}
