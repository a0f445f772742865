package network

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// dependentGrace is how long something that nobody seems to be deleting may prevent a
// deletion. Describe calls may show a deleted resource for some seconds (EC2 API
// reference, "Eventual consistency").
const dependentGrace = 15 * time.Second

// dependent is something that prevents the deletion of a subnet or VPC. AWS's own error,
// DependencyViolation, names none of them.
type dependent struct {
	text string
	// stays reports that the dependent stays until somebody deletes it. Others are being
	// deleted or belong to an AWS service, which may be about to release them.
	stays bool
}

// dependents describes what prevents a deletion.
type dependents func(ctx context.Context) ([]dependent, error)

// deleteUnused calls del, which deletes what, until it succeeds. If a dependent stays,
// it soon returns an error that names it; for the others it waits.
func deleteUnused(ctx context.Context, what string, find dependents, del func(context.Context) error) error {
	var since time.Time // when a dependent that stays was seen first
	return awswait.Until(ctx, awswait.DependencyRelease, func(ctx context.Context) (bool, string, error) {
		err := del(ctx)
		if err == nil || !awswait.IsInUse(err) {
			return true, "", err
		}
		all, findErr := find(ctx)
		if findErr != nil {
			return false, fmt.Sprintf("failing (%v), and what uses it is unknown (%v)", err, findErr), nil
		}
		staying := slices.DeleteFunc(slices.Clone(all), func(d dependent) bool { return !d.stays })
		switch {
		case len(staying) == 0:
			since = time.Time{}
			return false, fmt.Sprintf("used by %s (%v)", listDependents(all), err), nil
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= dependentGrace:
			return false, "", fmt.Errorf("%s is used by %s, which Terraform does not destroy here; delete that, and destroy again: %w", what, listDependents(staying), err)
		}
		return false, fmt.Sprintf("used by %s (%v)", listDependents(all), err), nil
	})
}

// awaitNone waits until no dependent of what is to be deleted is left. If one stays, it
// soon returns an error that names it.
func awaitNone(ctx context.Context, what string, find dependents) error {
	begun := time.Now()
	return awswait.Until(ctx, awswait.DependencyRelease, func(ctx context.Context) (bool, string, error) {
		all, err := find(ctx)
		if err != nil || len(all) == 0 {
			return true, "", err
		}
		if time.Since(begun) >= dependentGrace {
			return false, "", fmt.Errorf("%s is used by %s, which Terraform does not destroy here; delete that, and destroy again", what, listDependents(all))
		}
		return false, "used by " + listDependents(all), nil
	})
}

func listDependents(all []dependent) string {
	if len(all) == 0 {
		return "something that is not a network interface, endpoint, subnet or security group"
	}
	texts := make([]string, 0, len(all))
	for _, d := range all {
		texts = append(texts, d.text)
	}
	return strings.Join(texts, "; ")
}

// interfacesIn returns the network interfaces that a filter selects. With mapped, it
// returns only those with a public address.
func interfacesIn(client *awsclient.EC2, filter ec2types.Filter, mapped bool) dependents {
	return func(ctx context.Context) ([]dependent, error) {
		out, err := client.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{filter}})
		if err != nil {
			return nil, err
		}
		var found []dependent
		ending, err := endingInstances(ctx, client, out.NetworkInterfaces)
		for _, i := range out.NetworkInterfaces {
			if !mapped || i.Association != nil {
				found = append(found, dependent{describeInterface(i), interfaceStays(i, ending)})
			}
		}
		return found, err
	}
}

// endingInstances returns the ids of those instances with one of the interfaces that are
// being terminated.
func endingInstances(ctx context.Context, client *awsclient.EC2, interfaces []ec2types.NetworkInterface) (map[string]bool, error) {
	var ids []string
	for _, i := range interfaces {
		if i.Attachment != nil && i.Attachment.InstanceId != nil {
			ids = append(ids, *i.Attachment.InstanceId)
		}
	}
	ending := map[string]bool{}
	if len(ids) == 0 {
		return ending, nil
	}
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{base.Filter("instance-id", ids...),
		base.Filter("instance-state-name", string(ec2types.InstanceStateNameShuttingDown), string(ec2types.InstanceStateNameTerminated))}})
	if err != nil {
		return nil, err
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			ending[aws.ToString(i.InstanceId)] = true
		}
	}
	return ending, nil
}

// interfaceStays reports whether a network interface stays until somebody deletes it or
// its instance. One that an AWS service manages, such as a load balancer's, is deleted
// by the service, some time after its owner.
func interfaceStays(i ec2types.NetworkInterface, ending map[string]bool) bool {
	if aws.ToBool(i.RequesterManaged) || i.Status == ec2types.NetworkInterfaceStatusDetaching {
		return false
	}
	a := i.Attachment
	return a == nil || a.Status != ec2types.AttachmentStatusDetaching && !ending[aws.ToString(a.InstanceId)]
}

func describeInterface(i ec2types.NetworkInterface) string {
	text := fmt.Sprintf("network interface %s (type %s, %q, of account %s", aws.ToString(i.NetworkInterfaceId), i.InterfaceType, aws.ToString(i.Description), aws.ToString(i.OwnerId))
	if requester := aws.ToString(i.RequesterId); requester != "" {
		text += ", created by " + requester
	}
	if a := i.Attachment; a != nil && a.InstanceId != nil {
		text += ", attached to " + *a.InstanceId
	}
	return text + ")"
}

// endpointsIn returns the VPC endpoints of a VPC or, if subnet is not "", of a subnet.
func endpointsIn(client *awsclient.EC2, vpc, subnet string) dependents {
	return func(ctx context.Context) ([]dependent, error) {
		var found []dependent
		pages := ec2.NewDescribeVpcEndpointsPaginator(client, &ec2.DescribeVpcEndpointsInput{Filters: []ec2types.Filter{base.Filter("vpc-id", vpc)}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, e := range page.VpcEndpoints {
				state := strings.ToLower(string(e.State)) // the API reference has Deleting, the API returns deleting
				if state == "deleted" || subnet != "" && !slices.Contains(e.SubnetIds, subnet) {
					continue
				}
				found = append(found, dependent{fmt.Sprintf("VPC endpoint %s (type %s, %s, of account %s)", aws.ToString(e.VpcEndpointId), e.VpcEndpointType,
					aws.ToString(e.ServiceName), aws.ToString(e.OwnerId)), state != "deleting"})
			}
		}
		return found, nil
	}
}

// subnetsIn returns the subnets that are left in a VPC.
func subnetsIn(client *awsclient.EC2, vpc string) dependents {
	return func(ctx context.Context) ([]dependent, error) {
		var found []dependent
		subnets, err := client.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{base.Filter("vpc-id", vpc)}})
		if err != nil {
			return nil, err
		}
		for _, s := range subnets.Subnets {
			found = append(found, dependent{fmt.Sprintf("subnet %s (%s)", aws.ToString(s.SubnetId), aws.ToString(s.CidrBlock)), true})
		}
		return found, nil
	}
}

// groupsIn returns the security groups that are left in a VPC.
func groupsIn(client *awsclient.EC2, vpc string) dependents {
	return func(ctx context.Context) ([]dependent, error) {
		var found []dependent
		groups, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{base.Filter("vpc-id", vpc)}})
		if err != nil {
			return nil, err
		}
		for _, g := range groups.SecurityGroups {
			if aws.ToString(g.GroupName) != "default" { // which is deleted with the VPC
				found = append(found, dependent{fmt.Sprintf("security group %s (%s)", aws.ToString(g.GroupId), aws.ToString(g.GroupName)), true})
			}
		}
		return found, nil
	}
}

// anyOf returns the dependents that all of the functions return.
func anyOf(functions ...dependents) dependents {
	return func(ctx context.Context) ([]dependent, error) {
		var found []dependent
		for _, f := range functions {
			more, err := f(ctx)
			if err != nil {
				return nil, err
			}
			found = append(found, more...)
		}
		return found, nil
	}
}

// inSubnet returns the dependents of a subnet.
func inSubnet(client *awsclient.EC2, vpc, subnet string) dependents {
	return anyOf(interfacesIn(client, base.Filter("subnet-id", subnet), false), endpointsIn(client, vpc, subnet))
}

// inWholeVPC returns the dependents of a VPC.
func inWholeVPC(client *awsclient.EC2, vpc string) dependents {
	return anyOf(interfacesIn(client, base.Filter("vpc-id", vpc), false), endpointsIn(client, vpc, ""), subnetsIn(client, vpc), groupsIn(client, vpc))
}
