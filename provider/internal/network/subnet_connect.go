package network

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// connect changes the subnet, its table and its routes to match the model, whatever
// exists. Create, Update and the repair of drift all use it. Its steps are
// independent of each other.
func (r *subnetResource) connect(ctx context.Context, p *subnetParts, m subnetModel) error {
	return base.ParallelAll(ctx,
		func(ctx context.Context) error {
			return base.SetEC2Tags(ctx, r.Client.EC2, *p.subnet.SubnetId, p.subnet.Tags, r.tags(m), m.managed)
		},
		func(ctx context.Context) error {
			return base.SetEC2Tags(ctx, r.Client.EC2, *p.table.RouteTableId, p.table.Tags, r.tags(m), m.managed)
		},
		func(ctx context.Context) error { return r.privateOnLaunch(ctx, p) },
		func(ctx context.Context) error { return r.noIPv6OnLaunch(ctx, p) },
		func(ctx context.Context) error { return r.ensureIPv6(ctx, p, m) },
		func(ctx context.Context) error { return r.associate(ctx, p) },
		func(ctx context.Context) error { return r.addToEndpoint(ctx, p) },
		func(ctx context.Context) error {
			if m.Type.ValueString() == typePublic {
				return base.ParallelAll(ctx,
					func(ctx context.Context) error { return r.setDefaultRoute(ctx, p) },
					func(ctx context.Context) error { return r.setIPv6Route(ctx, p, m) },
				)
			}
			return r.removeBreaches(ctx, p)
		},
	)
}

// visible retries a call on a new resource until AWS finds it.
func visible[T any](ctx context.Context, call func(context.Context) (T, error)) error {
	_, err := awswait.Retry(ctx, awswait.CreatedVisible, awswait.IsNotFound, call)
	return err
}

func (r *subnetResource) privateOnLaunch(ctx context.Context, p *subnetParts) error {
	if !aws.ToBool(p.subnet.MapPublicIpOnLaunch) {
		return nil
	}
	_, err := r.Client.EC2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{
		SubnetId: p.subnet.SubnetId, MapPublicIpOnLaunch: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}})
	if err != nil {
		return fmt.Errorf("turn off public addresses on launch: %w", err)
	}
	return nil
}

func (r *subnetResource) associate(ctx context.Context, p *subnetParts) error {
	if p.associated() {
		return nil
	}
	err := visible(ctx, func(ctx context.Context) (any, error) {
		if p.foreignAssociation != "" {
			return r.Client.EC2.ReplaceRouteTableAssociation(ctx, &ec2.ReplaceRouteTableAssociationInput{
				AssociationId: &p.foreignAssociation, RouteTableId: p.table.RouteTableId})
		}
		return r.Client.EC2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{
			SubnetId: p.subnet.SubnetId, RouteTableId: p.table.RouteTableId})
	})
	// If a response was lost, the table is already associated.
	if err != nil && !awswait.HasCode(err, "Resource.AlreadyAssociated") {
		return fmt.Errorf("associate route table %s with %s: %w", *p.table.RouteTableId, *p.subnet.SubnetId, err)
	}
	return nil
}

func (r *subnetResource) addToEndpoint(ctx context.Context, p *subnetParts) error {
	if p.hasEndpointRoute() {
		return nil
	}
	err := visible(ctx, func(ctx context.Context) (any, error) {
		return r.Client.EC2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{
			VpcEndpointId: p.endpoint.VpcEndpointId, AddRouteTableIds: []string{*p.table.RouteTableId}})
	})
	if err != nil && !awswait.HasCode(err, "RouteAlreadyExists") {
		return fmt.Errorf("route %s to S3 through %s: %w", *p.table.RouteTableId, *p.endpoint.VpcEndpointId, err)
	}
	return nil
}

func (r *subnetResource) setDefaultRoute(ctx context.Context, p *subnetParts) error {
	current := p.defaultRouteTo(everywhere)
	if current != nil && aws.ToString(current.GatewayId) == p.gatewayID && current.State != ec2types.RouteStateBlackhole {
		return nil
	}
	err := visible(ctx, func(ctx context.Context) (any, error) {
		if current != nil {
			return r.Client.EC2.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{
				RouteTableId: p.table.RouteTableId, DestinationCidrBlock: aws.String(everywhere), GatewayId: &p.gatewayID})
		}
		return r.Client.EC2.CreateRoute(ctx, &ec2.CreateRouteInput{
			RouteTableId: p.table.RouteTableId, DestinationCidrBlock: aws.String(everywhere), GatewayId: &p.gatewayID})
	})
	if err != nil && !awswait.HasCode(err, "RouteAlreadyExists") {
		return fmt.Errorf("route %s to %s in %s: %w", everywhere, p.gatewayID, *p.table.RouteTableId, err)
	}
	return nil
}

func (r *subnetResource) removeBreaches(ctx context.Context, p *subnetParts) error {
	var steps []base.Step
	for _, route := range p.breaches(typePrivate) {
		steps = append(steps, func(ctx context.Context) error {
			_, err := r.Client.EC2.DeleteRoute(ctx, &ec2.DeleteRouteInput{
				RouteTableId:             p.table.RouteTableId,
				DestinationCidrBlock:     route.DestinationCidrBlock,
				DestinationIpv6CidrBlock: route.DestinationIpv6CidrBlock,
				DestinationPrefixListId:  route.DestinationPrefixListId,
			})
			if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
				return fmt.Errorf("remove the route for %s from %s: %w", destinationOf(route), *p.table.RouteTableId, err)
			}
			return nil
		})
	}
	return base.ParallelAll(ctx, steps...)
}

func (r *subnetResource) removeFromEndpoint(ctx context.Context, p *subnetParts) error {
	if !p.hasEndpointRoute() {
		return nil
	}
	_, err := r.Client.EC2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{
		VpcEndpointId: p.endpoint.VpcEndpointId, RemoveRouteTableIds: []string{*p.table.RouteTableId}})
	if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
		return fmt.Errorf("remove %s from %s: %w", *p.table.RouteTableId, *p.endpoint.VpcEndpointId, err)
	}
	return nil
}

// disassociate removes associations with deleted subnets.
func (r *subnetResource) disassociate(ctx context.Context, table *ec2types.RouteTable) error {
	for _, a := range table.Associations {
		_, err := r.Client.EC2.DisassociateRouteTable(ctx, &ec2.DisassociateRouteTableInput{AssociationId: a.RouteTableAssociationId})
		if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
			return fmt.Errorf("disassociate %s: %w", *table.RouteTableId, err)
		}
	}
	return nil
}
