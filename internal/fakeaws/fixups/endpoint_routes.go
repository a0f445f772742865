package fixups

import (
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// endpointRoutes keeps a gateway endpoint's route tables consistent with the routes
// in them, as AWS does. moto adds a route only if the endpoint is created with the
// table, and cannot delete an endpoint whose tables lack the route or that was
// created without a type.
func endpointRoutes() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			switch {
			case c.Is(fakeaws.EC2, "CreateVpcEndpoint") && !c.Params.Has("VpcEndpointType"):
				params := copyParams(c.Params)
				params.Set("VpcEndpointType", "Gateway")
				c.SetParams(params)
			case c.Is(fakeaws.EC2, "ModifyVpcEndpoint"):
				return modifyRoutes(c, next)
			case c.Is(fakeaws.EC2, "DeleteRouteTable"):
				return forgetTable(c, next)
			}
			return next(c)
		}
	}
}

func modifyRoutes(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	endpoint, err := describeEndpoint(c, c.Params.Get("VpcEndpointId"))
	if err != nil {
		return asRefusal(c, err)
	}
	res, err := next(c)
	if !succeeded(res, err) {
		return res, err
	}
	prefixList, err := prefixListOf(c, aws.ToString(endpoint.ServiceName))
	if err != nil || prefixList == nil {
		return res, err
	}
	for _, table := range listParam(c.Params, "AddRouteTableId") {
		if slices.Contains(endpoint.RouteTableIds, table) {
			continue
		}
		_, err := ec2Of(c).CreateRoute(c.Context(), &ec2.CreateRouteInput{
			RouteTableId: aws.String(table), DestinationPrefixListId: prefixList, GatewayId: endpoint.VpcEndpointId})
		if err != nil {
			return asRefusal(c, err)
		}
	}
	for _, table := range listParam(c.Params, "RemoveRouteTableId") {
		if !slices.Contains(endpoint.RouteTableIds, table) {
			continue
		}
		_, err := ec2Of(c).DeleteRoute(c.Context(), &ec2.DeleteRouteInput{
			RouteTableId: aws.String(table), DestinationPrefixListId: prefixList})
		if err != nil {
			return asRefusal(c, err)
		}
	}
	return res, nil
}

func describeEndpoint(c *fakeaws.Call, id string) (types.VpcEndpoint, error) {
	out, err := ec2Of(c).DescribeVpcEndpoints(c.Context(), &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{id}})
	if err != nil {
		return types.VpcEndpoint{}, err
	}
	return out.VpcEndpoints[0], nil
}

// prefixListOf returns the id of a service's prefix list, or nil.
func prefixListOf(c *fakeaws.Call, service string) (*string, error) {
	out, err := ec2Of(c).DescribePrefixLists(c.Context(), &ec2.DescribePrefixListsInput{})
	if err != nil {
		return nil, err
	}
	for _, l := range out.PrefixLists {
		if aws.ToString(l.PrefixListName) == service {
			return l.PrefixListId, nil
		}
	}
	return nil, nil
}

// forgetTable removes a deleted route table from the endpoints that name it.
func forgetTable(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	res, err := next(c)
	if !succeeded(res, err) {
		return res, err
	}
	table := c.Params.Get("RouteTableId")
	out, err := ec2Of(c).DescribeVpcEndpoints(c.Context(), &ec2.DescribeVpcEndpointsInput{})
	if err != nil {
		return nil, err
	}
	for _, e := range out.VpcEndpoints {
		if !slices.Contains(e.RouteTableIds, table) {
			continue
		}
		_, err := ec2Of(c).ModifyVpcEndpoint(c.Context(), &ec2.ModifyVpcEndpointInput{
			VpcEndpointId: e.VpcEndpointId, RemoveRouteTableIds: []string{table}})
		if err != nil {
			return nil, err
		}
	}
	return res, nil
}
