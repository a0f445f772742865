//go:build linux

package reconcile

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"golang.org/x/sync/errgroup"
)

// parallelReads limits concurrent requests to moto, which handles them one at a time
// and has other clients.
const parallelReads = 3

// account is a snapshot of the EC2 account.
type account struct {
	instances   []types.Instance
	volumes     []types.Volume
	vpcs        map[string]types.Vpc
	subnets     map[string]types.Subnet
	routeTables []types.RouteTable
	groups      []types.SecurityGroup
	addresses   []types.Address
	endpoints   []types.VpcEndpoint
	publicKeys  map[string]string // key pair name to authorized_keys line
}

// readAccount reads everything that the lab implements.
func readAccount(ctx context.Context, client *ec2.Client) (*account, error) {
	a := &account{vpcs: map[string]types.Vpc{}, subnets: map[string]types.Subnet{}, publicKeys: map[string]string{}}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	group.Go(func() error { return a.readInstances(ctx, client) })
	group.Go(func() error { return a.readNetwork(ctx, client) })
	group.Go(func() error {
		out, err := client.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{})
		if err == nil {
			a.volumes = out.Volumes
		}
		return err
	})
	group.Go(func() error {
		out, err := client.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
		if err == nil {
			a.addresses = out.Addresses
		}
		return err
	})
	group.Go(func() error {
		out, err := client.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{IncludePublicKey: aws.Bool(true)})
		if err != nil {
			return err
		}
		for _, k := range out.KeyPairs {
			a.publicKeys[*k.KeyName] = strings.TrimSpace(aws.ToString(k.PublicKey))
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read account: %w", err)
	}
	return a, nil
}

// readInstances reads all instances but terminated ones, which moto keeps forever.
func (a *account) readInstances(ctx context.Context, client *ec2.Client) error {
	alive := []types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}}}
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: alive})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, r := range page.Reservations {
			a.instances = append(a.instances, r.Instances...)
		}
	}
	return nil
}

func (a *account) readNetwork(ctx context.Context, client *ec2.Client) error {
	vpcs, err := client.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
	if err != nil {
		return err
	}
	for _, v := range vpcs.Vpcs {
		a.vpcs[*v.VpcId] = v
	}
	subnets, err := client.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return err
	}
	for _, s := range subnets.Subnets {
		a.subnets[*s.SubnetId] = s
	}
	tables, err := client.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{})
	if err != nil {
		return err
	}
	a.routeTables = tables.RouteTables
	groups, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		return err
	}
	a.groups = groups.SecurityGroups
	endpoints, err := client.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{})
	if err != nil {
		return err
	}
	a.endpoints = endpoints.VpcEndpoints
	return nil
}

// routeTable returns the route table associated with a subnet, or else the main one
// of its VPC.
func (a *account) routeTable(subnet types.Subnet) *types.RouteTable {
	var main *types.RouteTable
	for i, t := range a.routeTables {
		for _, association := range t.Associations {
			if aws.ToString(association.SubnetId) == *subnet.SubnetId {
				return &a.routeTables[i]
			}
			if aws.ToBool(association.Main) && aws.ToString(t.VpcId) == *subnet.VpcId {
				main = &a.routeTables[i]
			}
		}
	}
	return main
}

// s3Endpoint returns the S3 gateway endpoint associated with a route table, or nil.
func (a *account) s3Endpoint(table *types.RouteTable) *types.VpcEndpoint {
	for i, e := range a.endpoints {
		if e.VpcEndpointType != types.VpcEndpointTypeGateway || !strings.HasSuffix(aws.ToString(e.ServiceName), ".s3") ||
			e.State == types.StateDeleted {
			continue
		}
		for _, id := range e.RouteTableIds {
			if table != nil && id == aws.ToString(table.RouteTableId) {
				return &a.endpoints[i]
			}
		}
	}
	return nil
}

// publicAddress returns the elastic IP address associated with an instance, or else
// the public address that it was launched with. The zero Addr means none.
func (a *account) publicAddress(i types.Instance) netip.Addr {
	for _, e := range a.addresses {
		if aws.ToString(e.InstanceId) == *i.InstanceId {
			return parseAddress(e.PublicIp)
		}
		for _, n := range i.NetworkInterfaces {
			if e.NetworkInterfaceId != nil && *e.NetworkInterfaceId == aws.ToString(n.NetworkInterfaceId) {
				return parseAddress(e.PublicIp)
			}
		}
	}
	return parseAddress(i.PublicIpAddress)
}

// parseAddress returns the zero Addr for nil and for the empty string that moto returns.
func parseAddress(text *string) netip.Addr {
	address, err := netip.ParseAddr(aws.ToString(text))
	if err != nil {
		return netip.Addr{}
	}
	return address
}

// groupsOf returns the names of an instance's security groups by id. If the instance
// was launched with a network interface, moto lists them on the interface only.
func groupsOf(i types.Instance) map[string]string {
	all := map[string]string{}
	add := func(groups []types.GroupIdentifier) {
		for _, g := range groups {
			all[aws.ToString(g.GroupId)] = aws.ToString(g.GroupName)
		}
	}
	add(i.SecurityGroups)
	for _, n := range i.NetworkInterfaces {
		add(n.Groups)
	}
	return all
}

// tag returns the value of a tag, or an empty string.
func tag(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// readUserData returns an instance's current user data.
func readUserData(ctx context.Context, client *ec2.Client, id string) ([]byte, error) {
	out, err := client.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: &id, Attribute: types.InstanceAttributeNameUserData})
	if err != nil {
		return nil, fmt.Errorf("read user data of %s: %w", id, err)
	}
	if out.UserData == nil {
		return nil, nil
	}
	data, err := base64.StdEncoding.DecodeString(aws.ToString(out.UserData.Value))
	if err != nil {
		return nil, fmt.Errorf("decode user data of %s: %w", id, err)
	}
	return data, nil
}

// readRole returns the ARN of the role in an instance profile, or an empty string if
// the profile has none.
func readRole(ctx context.Context, client *iam.Client, profileARN string) (string, error) {
	name := profileARN[strings.LastIndex(profileARN, "/")+1:]
	out, err := client.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if err != nil {
		return "", fmt.Errorf("read instance profile %s: %w", profileARN, err)
	}
	if len(out.InstanceProfile.Roles) == 0 {
		return "", nil
	}
	return aws.ToString(out.InstanceProfile.Roles[0].Arn), nil
}
