package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// tagVPC is the tag of an internet gateway with the VPC that it is for, by which
// one that was created but not attached is found.
const tagVPC = "xeroops:vpc"

// vpcTagRules count tagVPC.
var vpcTagRules = base.TagRules{Extra: 1}

// vpcAtFault has the attribute that causes an error of CreateVpc, by code.
var vpcAtFault = map[string]string{"InvalidVpc.Range": "cidr", "InvalidParameterValue": "cidr"}

// findByName returns a function that finds the VPC that the provider created under
// a name for a range, nil if there is none.
func (r *vpcResource) findByName(cidr types.String) func(context.Context, string) (*base.Found, error) {
	return func(ctx context.Context, name string) (*base.Found, error) {
		out, err := r.Client.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: base.NamedFilters(name)})
		if err != nil || len(out.Vpcs) == 0 {
			return nil, err
		}
		found := &base.Found{ID: aws.ToString(out.Vpcs[0].VpcId), Claim: base.EC2Claim(out.Vpcs[0].Tags)}
		switch block := aws.ToString(out.Vpcs[0].CidrBlock); {
		case len(out.Vpcs) > 1:
			found.Conflict = fmt.Sprintf("%d VPCs have this name", len(out.Vpcs))
			return found, nil
		case !cidr.IsUnknown() && block != cidr.ValueString():
			found.Conflict = "its range is " + block
			return found, nil
		}
		subnets, err := r.Client.EC2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{base.Filter("vpc-id", found.ID)}})
		if err != nil {
			return nil, err
		}
		if len(subnets.Subnets) > 0 {
			found.InUse = fmt.Sprintf("%d subnets", len(subnets.Subnets))
		}
		return found, nil
	}
}

// describeOne returns the VPC that the filter selects, or nil.
func (r *vpcResource) describeOne(ctx context.Context, filter ec2types.Filter) (*ec2types.Vpc, error) {
	out, err := r.Client.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter}})
	if err != nil || len(out.Vpcs) == 0 {
		return nil, err
	}
	return &out.Vpcs[0], nil
}

// claimed returns a VPC as the holder of its claim.
func (r *vpcResource) claimed(id string, tags []ec2types.Tag) base.Claimed {
	return base.Claimed{Kind: vpcTypeName, ID: id, Tag: base.EC2Claim(tags), Write: base.WriteEC2Claim(r.Client.EC2, id),
		Reread: func(ctx context.Context) (string, bool, error) {
			vpc, err := r.describeOne(ctx, base.Filter("vpc-id", id))
			if err != nil || vpc == nil {
				return "", false, err
			}
			return base.EC2Claim(vpc.Tags), true, nil
		}}
}

// creation returns how the VPC is adopted or created. It sets created to a VPC that
// was created.
func (r *vpcResource) creation(m vpcModel, created **ec2types.Vpc) base.Creation {
	return base.Creation{Kind: vpcTypeName, Name: m.Name.ValueString(), Write: base.WriteEC2ClaimOf(r.Client.EC2),
		Find: func(ctx context.Context) (*base.Found, error) { return r.findByName(m.CIDR)(ctx, m.Name.ValueString()) },
		Create: func(ctx context.Context, claim base.Claim) (_ string, err error) {
			*created, err = r.create(ctx, m, claim)
			if err != nil {
				return "", err
			}
			return aws.ToString((*created).VpcId), nil
		}}
}

func (r *vpcResource) create(ctx context.Context, m vpcModel, claim base.Claim) (*ec2types.Vpc, error) {
	vpc, err := base.CreateOnce(ctx,
		func(ctx context.Context) (*ec2types.Vpc, error) { return r.describeOne(ctx, claim.Filter()) },
		func(ctx context.Context, once ...func(*ec2.Options)) (*ec2types.Vpc, error) {
			out, err := r.Client.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{
				CidrBlock:         m.CIDR.ValueStringPointer(),
				TagSpecifications: base.TagOnCreate(ec2types.ResourceTypeVpc, append(r.tags(m), claim.Tag())),
			}, once...)
			if err != nil {
				return nil, err
			}
			return out.Vpc, nil
		})
	return vpc, base.AtAttributeForCode(err, vpcAtFault)
}

func (r *vpcResource) tags(m vpcModel) []ec2types.Tag {
	return base.EC2Tags(m.Name.ValueString(), m.TagsAll, nil)
}

// converge changes a VPC and its parts to match the model, whatever exists. Create,
// Update and the repair of drift all use it. created is the VPC if the caller has just
// created it, and hadFirewall is whether the state has a DNS firewall.
func (r *vpcResource) converge(ctx context.Context, m *vpcModel, created *ec2types.Vpc, hadFirewall bool) error {
	id := m.ID.ValueString()
	var found *vpcParts
	var err error
	if created != nil {
		found, err = r.partsOfNew(ctx, *created)
	} else {
		found, err = r.awaitParts(ctx, id)
	}
	if err != nil {
		return err
	}
	err = base.ParallelAll(ctx,
		func(ctx context.Context) error {
			return base.SetEC2Tags(ctx, r.Client.EC2, id, found.vpc.Tags, r.tags(*m), m.managed)
		},
		func(ctx context.Context) error { return r.enableDNS(ctx, found) },
		func(ctx context.Context) error { return r.emptyDefaultGroup(ctx, found) },
		func(ctx context.Context) error { return r.ensureGateway(ctx, id, found, *m) },
		func(ctx context.Context) error { return r.ensureEndpoint(ctx, id, found, *m) },
		func(ctx context.Context) error { return r.ensureIPv6(ctx, id, found, *m) },
		func(ctx context.Context) error { return r.ensureFirewall(ctx, id, found.partition, *m, hadFirewall) },
	)
	m.ARN = types.StringValue(found.arn)
	m.setParts(found)
	return err
}

// partsOfNew returns the parts of a VPC that was just created, without a call. Its
// default security group is looked up when it is needed.
func (r *vpcResource) partsOfNew(ctx context.Context, vpc ec2types.Vpc) (*vpcParts, error) {
	p := &vpcParts{vpc: vpc, isNew: true, dnsSupport: true} // EC2's default; DNS host names are off
	var err error
	if p.partition, err = r.Client.Partition(ctx); err != nil {
		return nil, err
	}
	if p.wantedPolicy, err = r.endpointPolicy(ctx); err != nil {
		return nil, err
	}
	p.arn, err = base.EC2ARN(ctx, r.Client, "vpc/"+aws.ToString(vpc.VpcId))
	return p, err
}

var errNotYetVisible = errors.New("the VPC is not visible yet")

// awaitParts returns the parts of a VPC that may be new, and the gateway that an
// interrupted create did not attach.
func (r *vpcResource) awaitParts(ctx context.Context, id string) (*vpcParts, error) {
	var parts *vpcParts
	var detached *ec2types.InternetGateway
	err := base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			detached, err = r.findDetachedGateway(ctx, id)
			return err
		},
		func(ctx context.Context) (err error) {
			parts, err = awswait.Retry(ctx, awswait.CreatedVisible, func(err error) bool { return errors.Is(err, errNotYetVisible) },
				func(ctx context.Context) (*vpcParts, error) {
					found, err := r.findParts(ctx, id)
					if err == nil && found == nil {
						err = errNotYetVisible
					}
					return found, err
				})
			return err
		},
	)
	if err != nil {
		return nil, err
	}
	parts.detached = detached
	return parts, nil
}

// findParts returns a VPC and its parts, or nil if there is no such VPC. The calls
// are concurrent.
func (r *vpcResource) findParts(ctx context.Context, id string) (*vpcParts, error) {
	p := &vpcParts{}
	exists := false
	err := base.Parallel(ctx,
		func(ctx context.Context) (err error) {
			p.vpc, exists, err = r.Describe.VPCs.Get(ctx, id)
			p.ipv6 = ipv6Of(p.vpc)
			return err
		},
		func(ctx context.Context) (err error) {
			p.dnsSupport, err = r.vpcAttribute(ctx, id, ec2types.VpcAttributeNameEnableDnsSupport)
			return err
		},
		func(ctx context.Context) (err error) {
			p.dnsHostnames, err = r.vpcAttribute(ctx, id, ec2types.VpcAttributeNameEnableDnsHostnames)
			return err
		},
		func(ctx context.Context) error {
			out, err := r.Client.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{
				Filters: []ec2types.Filter{base.Filter("attachment.vpc-id", id)}})
			if err == nil && len(out.InternetGateways) > 0 {
				p.gateway = &out.InternetGateways[0]
			}
			return err
		},
		func(ctx context.Context) (err error) {
			p.endpoint, err = found(r.Describe.S3Endpoints.Get(ctx, id))
			return err
		},
		func(ctx context.Context) (err error) {
			p.defaultGroup, err = r.findDefaultGroup(ctx, id)
			return err
		},
		func(ctx context.Context) (err error) {
			p.partition, err = r.Client.Partition(ctx)
			return err
		},
		func(ctx context.Context) (err error) {
			p.wantedPolicy, err = r.endpointPolicy(ctx)
			return err
		},
	)
	if err != nil || !exists {
		return nil, err
	}
	p.arn, err = base.EC2ARN(ctx, r.Client, "vpc/"+id)
	return p, err
}

func (r *vpcResource) vpcAttribute(ctx context.Context, id string, name ec2types.VpcAttributeName) (bool, error) {
	out, err := r.Client.EC2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: name})
	if err != nil {
		return false, awswait.Ignore(err, awswait.IsNotFound)
	}
	for _, value := range []*ec2types.AttributeBooleanValue{out.EnableDnsSupport, out.EnableDnsHostnames} {
		if value != nil {
			return aws.ToBool(value.Value), nil
		}
	}
	return false, nil
}

func (r *vpcResource) enableDNS(ctx context.Context, p *vpcParts) error {
	on := &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}
	if !p.dnsSupport { // required for host names
		if _, err := r.Client.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: p.vpc.VpcId, EnableDnsSupport: on}); err != nil {
			return fmt.Errorf("turn on DNS support: %w", err)
		}
	}
	if !p.dnsHostnames {
		if _, err := r.Client.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: p.vpc.VpcId, EnableDnsHostnames: on}); err != nil {
			return fmt.Errorf("turn on DNS host names: %w", err)
		}
	}
	return nil
}

func (r *vpcResource) findDefaultGroup(ctx context.Context, vpc string) (*ec2types.SecurityGroup, error) {
	groups, _, err := r.Describe.SecurityGroups.Get(ctx, vpc)
	for _, g := range groups {
		if aws.ToString(g.GroupName) == "default" {
			return &g, nil
		}
	}
	return nil, err
}

// emptyDefaultGroup removes the rules of the default security group, which
// instances get that are launched without a group.
func (r *vpcResource) emptyDefaultGroup(ctx context.Context, p *vpcParts) error {
	if p.isNew {
		err := awswait.Until(ctx, awswait.CreatedVisible, func(ctx context.Context) (_ bool, _ string, err error) {
			p.defaultGroup, err = r.findDefaultGroup(ctx, aws.ToString(p.vpc.VpcId))
			return p.defaultGroup != nil, "the default security group is not visible yet", err
		})
		if err != nil {
			return err
		}
	}
	group := p.defaultGroup
	if group == nil {
		return nil
	}
	return base.ParallelAll(ctx,
		func(ctx context.Context) error {
			if len(group.IpPermissions) == 0 {
				return nil
			}
			_, err := r.Client.EC2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: group.GroupId, IpPermissions: group.IpPermissions})
			return awswait.Ignore(err, awswait.IsNotFound)
		},
		func(ctx context.Context) error {
			if len(group.IpPermissionsEgress) == 0 {
				return nil
			}
			_, err := r.Client.EC2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: group.GroupId, IpPermissions: group.IpPermissionsEgress})
			return awswait.Ignore(err, awswait.IsNotFound)
		},
	)
}
