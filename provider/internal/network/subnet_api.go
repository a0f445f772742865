package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// subnetAtFault has the attribute that causes an error of CreateSubnet, by code.
var subnetAtFault = map[string]string{
	"InvalidSubnet.Conflict":              "cidr",
	"InvalidSubnet.Range":                 "cidr",
	"InvalidVpcID.NotFound":               "vpc_id",
	"InvalidVpcId.NotFound":               "vpc_id",
	"InvalidParameterValue":               "availability_zone",
	"SubnetLimitExceeded":                 "vpc_id",
	"InvalidAvailabilityZone":             "availability_zone",
	"InvalidAvailabilityZone.NotFound":    "availability_zone",
	"UnsupportedAvailabilityZoneForUsage": "availability_zone",
}

// findByName returns the subnets of a name, of which parts has the first, and what the
// subnet is to be connected to. The calls are concurrent.
func (r *subnetResource) findByName(ctx context.Context, m subnetModel) ([]ec2types.Subnet, *subnetParts, error) {
	p, vpc := &subnetParts{}, m.VPCID.ValueString()
	var subnets []ec2types.Subnet
	err := base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			subnets, err = r.describe(ctx, inVPC(vpc, m.Name.ValueString()))
			return err
		},
		func(ctx context.Context) (err error) {
			p.table, err = r.findTable(ctx, inVPC(vpc, m.Name.ValueString()))
			return err
		},
		func(ctx context.Context) error { return r.findGateways(ctx, p, vpc) },
	)
	if len(subnets) > 0 {
		p.subnet = &subnets[0]
	}
	return subnets, p, err
}

// creation returns how the subnet and its route table are adopted or created; they are
// then in parts. If only the subnet could be created, incomplete says why.
func (r *subnetResource) creation(m subnetModel, parts *subnetParts, incomplete *error) base.Creation {
	planned, _ := r.PlanCache.Take(subnetTypeName, m.nameInVPC())
	return base.Creation{Kind: subnetTypeName, Name: m.Name.ValueString(), Key: m.nameInVPC(), Write: base.WriteEC2ClaimOf(r.Client.EC2),
		Find: func(ctx context.Context) (*base.Found, error) {
			if p, ok := planned.(*subnetParts); ok && p != nil && p.subnet == nil {
				*parts = *p
				return nil, nil
			}
			subnets, p, err := r.findByName(ctx, m)
			if err != nil {
				return nil, err
			}
			*parts = *p
			return r.adoptable(ctx, subnets, m)
		},
		Create: func(ctx context.Context, claim base.Claim) (string, error) {
			if *incomplete = r.ensureCreated(ctx, parts, m, claim); parts.subnet == nil {
				return "", *incomplete
			}
			return aws.ToString(parts.subnet.SubnetId), nil
		}}
}

// claimed returns a subnet as the holder of its claim.
func (r *subnetResource) claimed(s ec2types.Subnet) base.Claimed {
	id := aws.ToString(s.SubnetId)
	return base.Claimed{Kind: subnetTypeName, ID: id, Tag: base.EC2Claim(s.Tags), Write: base.WriteEC2Claim(r.Client.EC2, id),
		Reread: func(ctx context.Context) (string, bool, error) {
			s, exists, err := r.Describe.Subnets.Get(ctx, id)
			return base.EC2Claim(s.Tags), exists, err
		}}
}

func inVPC(vpc, name string) []ec2types.Filter {
	return append([]ec2types.Filter{base.Filter("vpc-id", vpc)}, base.NamedFilters(name)...)
}

// adoptable returns whether one of the subnets with the name of the wanted one can
// be adopted, or nil if there are none.
func (r *subnetResource) adoptable(ctx context.Context, subnets []ec2types.Subnet, wanted subnetModel) (*base.Found, error) {
	if len(subnets) == 0 {
		return nil, nil
	}
	s := subnets[0]
	found := &base.Found{ID: aws.ToString(s.SubnetId), Claim: base.EC2Claim(s.Tags)}
	switch {
	case len(subnets) > 1:
		found.Conflict = fmt.Sprintf("%d subnets of the VPC have this name", len(subnets))
	case aws.ToString(s.CidrBlock) != wanted.CIDR.ValueString():
		found.Conflict = "its range is " + aws.ToString(s.CidrBlock)
	case !wanted.AvailabilityZone.IsUnknown() && aws.ToString(s.AvailabilityZone) != wanted.AvailabilityZone.ValueString():
		found.Conflict = "its zone is " + aws.ToString(s.AvailabilityZone)
	default:
		out, err := r.Client.EC2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{base.Filter("subnet-id", found.ID)}})
		if err != nil {
			return nil, err
		}
		if len(out.NetworkInterfaces) > 0 {
			found.InUse = fmt.Sprintf("%d network interfaces", len(out.NetworkInterfaces))
		}
	}
	return found, nil
}

func (r *subnetResource) describe(ctx context.Context, filters []ec2types.Filter) ([]ec2types.Subnet, error) {
	var found []ec2types.Subnet
	pages := ec2.NewDescribeSubnetsPaginator(r.Client.EC2, &ec2.DescribeSubnetsInput{Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, page.Subnets...)
	}
	return found, nil
}

func (r *subnetResource) findTable(ctx context.Context, filters []ec2types.Filter) (*ec2types.RouteTable, error) {
	out, err := r.Client.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filters})
	if err != nil || len(out.RouteTables) == 0 {
		return nil, err
	}
	return &out.RouteTables[0], nil
}

// findGateways describes the internet gateway and the endpoint of a VPC.
func (r *subnetResource) findGateways(ctx context.Context, p *subnetParts, vpc string) error {
	return base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			p.endpoint, err = found(r.Describe.S3Endpoints.Get(ctx, vpc))
			return err
		},
		func(ctx context.Context) error {
			out, err := r.Client.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{
				Filters: []ec2types.Filter{base.Filter("attachment.vpc-id", vpc)}})
			if err == nil && len(out.InternetGateways) > 0 {
				p.gatewayID = aws.ToString(out.InternetGateways[0].InternetGatewayId)
			}
			return err
		},
	)
}

// found returns the result of a batch as a pointer, nil if there is none.
func found[T any](thing T, exists bool, err error) (*T, error) {
	if err != nil || !exists {
		return nil, err
	}
	return &thing, nil
}

// findByID returns a subnet and its parts. Look-ups by ids of the state are shared
// with other subnets.
func (r *subnetResource) findByID(ctx context.Context, m subnetModel) (*subnetParts, error) {
	p, id := &subnetParts{}, m.ID.ValueString()
	vpc := m.VPCID.ValueString()
	if vpc == "" { // imported
		s, err := found(r.Describe.Subnets.Get(ctx, id))
		if err != nil || s == nil {
			return p, err
		}
		vpc = aws.ToString(s.VpcId)
	}
	err := base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			p.subnet, err = found(r.Describe.Subnets.Get(ctx, id))
			return err
		},
		func(ctx context.Context) (err error) {
			if known := m.RouteTableID.ValueString(); known != "" {
				tables, _, err := r.Describe.RouteTables.Get(ctx, vpc)
				p.table = tableWithID(tables, known)
				return err
			}
			p.table, err = r.findTable(ctx, []ec2types.Filter{base.Filter("association.subnet-id", id), base.Filter("tag-key", base.TagName)})
			return err
		},
		func(ctx context.Context) (err error) {
			p.endpoint, err = found(r.Describe.S3Endpoints.Get(ctx, vpc))
			return err
		},
	)
	return p, err
}

func tableWithID(tables []ec2types.RouteTable, id string) *ec2types.RouteTable {
	for _, t := range tables {
		if aws.ToString(t.RouteTableId) == id {
			return &t
		}
	}
	return nil
}

var errSubnetGone = errors.New("it no longer exists; run terraform apply again to create it")

// findForRepair returns a subnet, its parts and what they are to be connected to.
func (r *subnetResource) findForRepair(ctx context.Context, m subnetModel) (*subnetParts, error) {
	var p *subnetParts
	var table, associated *ec2types.RouteTable
	ways := &subnetParts{}
	err := base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			p, err = r.findByID(ctx, m)
			return err
		},
		func(ctx context.Context) (err error) { // left by an interrupted repair
			table, err = r.findTable(ctx, inVPC(m.VPCID.ValueString(), m.Name.ValueString()))
			return err
		},
		func(ctx context.Context) (err error) {
			associated, err = r.findTable(ctx, []ec2types.Filter{base.Filter("association.subnet-id", m.ID.ValueString())})
			return err
		},
		func(ctx context.Context) error { return r.findGateways(ctx, ways, m.VPCID.ValueString()) },
	)
	if err != nil {
		return nil, err
	}
	if p.subnet == nil {
		return nil, errSubnetGone
	}
	if p.table == nil {
		p.table = table
	}
	p.gatewayID = ways.gatewayID
	if associated != nil && (p.table == nil || aws.ToString(associated.RouteTableId) != aws.ToString(p.table.RouteTableId)) {
		p.foreignAssociation = associationOf(*associated, m.ID.ValueString())
	}
	return p, nil
}

func associationOf(table ec2types.RouteTable, subnet string) string {
	for _, a := range table.Associations {
		if aws.ToString(a.SubnetId) == subnet {
			return aws.ToString(a.RouteTableAssociationId)
		}
	}
	return ""
}

// ensureCreated creates the subnet and its route table concurrently if they are
// missing.
func (r *subnetResource) ensureCreated(ctx context.Context, p *subnetParts, m subnetModel, claim base.Claim) error {
	if err := p.checkGateways(m); err != nil {
		return err
	}
	newTable := p.table == nil
	err := base.ParallelAll(ctx,
		func(ctx context.Context) error {
			if p.subnet != nil {
				return nil
			}
			subnet, err := r.create(ctx, m, claim)
			if err != nil {
				return base.AtAttributeForCode(fmt.Errorf("create subnet %s: %w", m.CIDR.ValueString(), err), subnetAtFault)
			}
			p.subnet = subnet
			return nil
		},
		func(ctx context.Context) error {
			if !newTable {
				return nil
			}
			out, err := r.Client.EC2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{
				VpcId:             m.VPCID.ValueStringPointer(),
				TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeRouteTable, r.tags(m)),
			})
			if err != nil {
				return fmt.Errorf("create route table: %w", err)
			}
			p.table = out.RouteTable
			return nil
		},
	)
	if p.subnet == nil && newTable && p.table != nil {
		// The table is not in the state, and would prevent the deletion of the VPC.
		err = errors.Join(err, deleteTable(ctx, r.Client.EC2, p.table.RouteTableId))
	}
	return err
}

func (r *subnetResource) create(ctx context.Context, m subnetModel, claim base.Claim) (*ec2types.Subnet, error) {
	return base.CreateOnce(ctx,
		func(ctx context.Context) (*ec2types.Subnet, error) {
			created, err := r.describe(ctx, []ec2types.Filter{claim.Filter()})
			if err != nil || len(created) == 0 {
				return nil, err
			}
			return &created[0], nil
		},
		func(ctx context.Context, once ...func(*ec2.Options)) (*ec2types.Subnet, error) {
			out, err := r.Client.EC2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
				VpcId:             m.VPCID.ValueStringPointer(),
				CidrBlock:         m.CIDR.ValueStringPointer(),
				AvailabilityZone:  m.AvailabilityZone.ValueStringPointer(),
				TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeSubnet, append(r.tags(m), claim.Tag())),
			}, once...)
			if err != nil {
				return nil, err
			}
			return out.Subnet, nil
		})
}

// checkGateways returns an error if the VPC lacks a gateway that the subnet needs.
func (p *subnetParts) checkGateways(m subnetModel) error {
	missing := ""
	switch {
	case p.endpoint == nil:
		missing = "gateway endpoint for S3 (xeroops_vpc makes one; aws_vpc_endpoint can)"
	case p.gatewayID == "" && m.Type.ValueString() == typePublic:
		missing = "internet gateway (xeroops_vpc makes one; aws_internet_gateway can)"
	default:
		return nil
	}
	return base.AtAttribute(path.Root("vpc_id"), fmt.Errorf("%s has no %s; a %s subnet needs it", m.VPCID.ValueString(), missing, m.Type.ValueString()))
}

func (r *subnetResource) tags(m subnetModel) []ec2types.Tag {
	return base.EC2Tags(m.Name.ValueString(), m.TagsAll, nil)
}

func deleteTable(ctx context.Context, client *awsclient.EC2, id *string) error {
	_, err := awswait.Retry(ctx, awswait.StateChange, awswait.IsInUse, func(ctx context.Context) (any, error) {
		return client.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: id})
	})
	if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
		return fmt.Errorf("delete route table %s: %w", aws.ToString(id), err)
	}
	return nil
}

// delete deletes the subnet and then its table. In the other order, a subnet in use
// would be left with the VPC's main table.
func (r *subnetResource) delete(ctx context.Context, m subnetModel) error {
	err := deleteUnused(ctx, "the subnet", inSubnet(r.Client.EC2, m.VPCID.ValueString(), m.ID.ValueString()), func(ctx context.Context) error {
		_, err := r.Client.EC2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: m.ID.ValueStringPointer()})
		return err
	})
	if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
		return err
	}
	p, err := r.findByID(ctx, m)
	if err != nil || p.table == nil {
		return err
	}
	err = base.ParallelAll(ctx,
		func(ctx context.Context) error { return r.removeFromEndpoint(ctx, p) },
		func(ctx context.Context) error { return r.disassociate(ctx, p.table) },
	)
	if err != nil {
		return err
	}
	return deleteTable(ctx, r.Client.EC2, p.table.RouteTableId)
}
