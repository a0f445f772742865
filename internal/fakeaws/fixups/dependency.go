package fixups

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// dependency rejects the deletion of resources in use: a security group with
// interfaces or referring groups, a subnet with interfaces, a VPC with a gateway,
// endpoint or groups, and the detachment of a gateway with mapped addresses. It
// also removes the association of a deleted subnet with a route table, which moto
// keeps.
func dependency() fakeaws.Middleware {
	refusals := check(func(c *fakeaws.Call) (*refusal, error) {
		if c.Service != fakeaws.EC2 {
			return nil, nil
		}
		switch c.Action {
		case "DeleteSecurityGroup":
			return refuseGroup(c, c.Params.Get("GroupId"))
		case "DeleteSubnet":
			return refuseSubnet(c, c.Params.Get("SubnetId"))
		case "DeleteVpc":
			return refuseVPC(c, c.Params.Get("VpcId"))
		case "DetachInternetGateway":
			return refuseDetachment(c, c.Params.Get("VpcId"))
		}
		return nil, nil
	})
	return func(next fakeaws.Handler) fakeaws.Handler {
		return refusals(func(c *fakeaws.Call) (*http.Response, error) {
			if c.Is(fakeaws.EC2, "DeleteSubnet") {
				if err := dropAssociations(c, c.Params.Get("SubnetId")); err != nil {
					return asRefusal(c, err)
				}
			}
			return next(c)
		})
	}
}

func inUse(format string, args ...any) *refusal {
	return refuse("DependencyViolation", fmt.Sprintf(format, args...))
}

// filtered returns a single filter of a Describe call.
func filtered(name, value string) []types.Filter {
	return []types.Filter{{Name: aws.String(name), Values: []string{value}}}
}

func interfacesOf(c *fakeaws.Call, filter, value string) ([]types.NetworkInterface, error) {
	out, err := ec2Of(c).DescribeNetworkInterfaces(c.Context(), &ec2.DescribeNetworkInterfacesInput{Filters: filtered(filter, value)})
	if err != nil {
		return nil, err
	}
	return out.NetworkInterfaces, nil
}

func refuseGroup(c *fakeaws.Call, id string) (*refusal, error) {
	if id == "" {
		return nil, nil
	}
	groups, err := ec2Of(c).DescribeSecurityGroups(c.Context(), &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		return nil, err
	}
	refused := inUse("resource %s has a dependent object", id)
	for _, g := range groups.SecurityGroups {
		if aws.ToString(g.GroupId) == id && aws.ToString(g.GroupName) == "default" {
			return refuse("CannotDelete", fmt.Sprintf(`the specified group: "%s" name: "default" cannot be deleted by a user`, id)), nil
		}
		if aws.ToString(g.GroupId) != id && refersTo(g, id) {
			return refused, nil
		}
	}
	interfaces, err := interfacesOf(c, "group-id", id)
	if err != nil || len(interfaces) == 0 {
		return nil, err
	}
	return refused, nil
}

func refersTo(g types.SecurityGroup, id string) bool {
	for _, p := range slices.Concat(g.IpPermissions, g.IpPermissionsEgress) {
		for _, pair := range p.UserIdGroupPairs {
			if aws.ToString(pair.GroupId) == id {
				return true
			}
		}
	}
	return false
}

func refuseSubnet(c *fakeaws.Call, id string) (*refusal, error) {
	interfaces, err := interfacesOf(c, "subnet-id", id)
	if err != nil || len(interfaces) == 0 {
		return nil, err
	}
	return inUse("The subnet '%s' has dependencies and cannot be deleted.", id), nil
}

func dropAssociations(c *fakeaws.Call, subnet string) error {
	tables, err := ec2Of(c).DescribeRouteTables(c.Context(), &ec2.DescribeRouteTablesInput{Filters: filtered("association.subnet-id", subnet)})
	if err != nil {
		return err
	}
	for _, t := range tables.RouteTables {
		for _, a := range t.Associations {
			if aws.ToString(a.SubnetId) != subnet {
				continue
			}
			_, err := ec2Of(c).DisassociateRouteTable(c.Context(), &ec2.DisassociateRouteTableInput{AssociationId: a.RouteTableAssociationId})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func refuseVPC(c *fakeaws.Call, id string) (*refusal, error) {
	client, refused := ec2Of(c), inUse("The vpc '%s' has dependencies and cannot be deleted.", id)
	gateways, err := client.DescribeInternetGateways(c.Context(), &ec2.DescribeInternetGatewaysInput{Filters: filtered("attachment.vpc-id", id)})
	if err != nil {
		return nil, err
	}
	if len(gateways.InternetGateways) > 0 {
		return refused, nil
	}
	groups, err := client.DescribeSecurityGroups(c.Context(), &ec2.DescribeSecurityGroupsInput{Filters: filtered("vpc-id", id)})
	if err != nil {
		return nil, err
	}
	for _, g := range groups.SecurityGroups {
		if aws.ToString(g.GroupName) != "default" {
			return refused, nil
		}
	}
	endpoints, err := client.DescribeVpcEndpoints(c.Context(), &ec2.DescribeVpcEndpointsInput{Filters: filtered("vpc-id", id)})
	if err != nil {
		return nil, err
	}
	for _, e := range endpoints.VpcEndpoints {
		if e.State != "deleted" { // in lower case in moto
			return refused, nil
		}
	}
	return nil, nil
}

func refuseDetachment(c *fakeaws.Call, vpc string) (*refusal, error) {
	interfaces, err := interfacesOf(c, "vpc-id", vpc)
	if err != nil {
		return nil, err
	}
	for _, i := range interfaces {
		if i.Association != nil && aws.ToString(i.Association.PublicIp) != "" {
			return inUse("Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", vpc), nil
		}
	}
	return nil, nil
}
