package cluster

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// dataDevice is the name under which a node's data volume is attached; the node
// itself finds it by the volume's id.
const dataDevice = "/dev/sdf"

// observed is the cluster as it is at AWS, found by tag and name.
type observed struct {
	vpcID     string
	vpcCIDR   string
	live      map[string]instance // by node; pending to stopped
	surplus   []instance          // further live instances of a node
	ended     []instance          // terminated ones, while AWS shows them
	exposed   map[string]bool     // ids of those that should be protected against termination and are not
	groups    map[model.Role]ec2types.SecurityGroup
	roles     map[model.Role]iamRole
	profiles  map[model.Role]iamProfile
	mu        sync.Mutex // of addresses, while nodes are wired side by side
	addresses []ec2types.Address
	tables    []ec2types.RouteTable
	objects   map[string]string // ETag by key
}

type instance struct {
	ec2types.Instance
	node string
	role model.Role
}

func (i instance) id() string { return aws.ToString(i.InstanceId) }

func (i instance) state() ec2types.InstanceStateName { return i.State.Name }

// volumeAt returns the id of the volume attached as device, or "".
func (i instance) volumeAt(device string) string {
	for _, m := range i.BlockDeviceMappings {
		if aws.ToString(m.DeviceName) == device && m.Ebs != nil {
			return aws.ToString(m.Ebs.VolumeId)
		}
	}
	return ""
}

func (i instance) interfaceID() string {
	if len(i.NetworkInterfaces) == 0 {
		return ""
	}
	return aws.ToString(i.NetworkInterfaces[0].NetworkInterfaceId)
}

// nothing says whether AWS has nothing left of the cluster.
func (o *observed) nothing() bool {
	return len(o.live) == 0 && len(o.surplus) == 0 && len(o.groups) == 0 && len(o.roles) == 0 && len(o.profiles) == 0
}

// observe describes all of the cluster, side by side, and further what else
// asks for.
func (w *work) observe(ctx context.Context, further ...base.Step) error {
	w.seen = &observed{vpcID: w.spec.VPCID, live: map[string]instance{}, groups: map[model.Role]ec2types.SecurityGroup{},
		roles: map[model.Role]iamRole{}, profiles: map[model.Role]iamProfile{}, objects: map[string]string{}}
	return base.Parallel(ctx, append(further, w.observeProtectedInstances, w.observeGroups, w.observeRoles, w.observeProfiles,
		w.observeAddresses, w.observeTables, w.observeObjects)...)
}

// observeVPC finds the VPC's range of addresses.
func (w *work) observeVPC(ctx context.Context) error {
	out, err := w.Client.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{base.Filter("vpc-id", w.spec.VPCID)}})
	if err != nil {
		return err
	}
	if len(out.Vpcs) == 0 {
		return base.AtAttribute(path.Root("vpc_id"), fmt.Errorf("there is no VPC %s in %s", w.spec.VPCID, w.Client.Region))
	}
	w.seen.vpcCIDR = aws.ToString(out.Vpcs[0].CidrBlock)
	return nil
}

func (w *work) observeGroups(ctx context.Context) error {
	pages := ec2.NewDescribeSecurityGroupsPaginator(w.Client.EC2, &ec2.DescribeSecurityGroupsInput{
		Filters: []ec2types.Filter{base.Filter("tag:"+base.TagCluster, w.spec.Name)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, g := range page.SecurityGroups {
			if w.spec.VPCID != "" && aws.ToString(g.VpcId) != w.spec.VPCID {
				continue // of a cluster of that name in another VPC
			}
			w.seen.groups[model.Role(base.FlattenEC2Tags(g.Tags)[base.TagRole])] = g
		}
	}
	return nil
}

func (w *work) observeTables(ctx context.Context) error {
	if w.spec.VPCID == "" {
		return nil
	}
	pages := ec2.NewDescribeRouteTablesPaginator(w.Client.EC2, &ec2.DescribeRouteTablesInput{
		Filters: []ec2types.Filter{base.Filter("vpc-id", w.spec.VPCID)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		w.seen.tables = append(w.seen.tables, page.RouteTables...)
	}
	return nil
}

func (w *work) observeObjects(ctx context.Context) error {
	if w.spec.Buckets.Uploads == "" {
		return nil
	}
	pages := s3.NewListObjectsV2Paginator(w.Client.S3, &s3.ListObjectsV2Input{
		Bucket: &w.spec.Buckets.Uploads, Prefix: aws.String(w.layout().Prefix())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awswait.IsNotFound(err) {
			return nil // the bucket is gone, and all in it; writing to it will say so
		}
		if err != nil {
			return err
		}
		for _, object := range page.Contents {
			w.seen.objects[aws.ToString(object.Key)] = aws.ToString(object.ETag)
		}
	}
	return nil
}

// instancesValue is the attribute instances.
func (o *observed) instancesValue() types.Map {
	values := map[string]attr.Value{}
	for node, i := range o.live {
		zone := types.StringNull()
		if i.Placement != nil {
			zone = types.StringPointerValue(i.Placement.AvailabilityZone)
		}
		values[node] = types.ObjectValueMust(instanceAttrTypes, map[string]attr.Value{
			"instance_id":       types.StringValue(i.id()),
			"availability_zone": zone,
			"public_ip":         types.StringPointerValue(o.publicIP(i)),
		})
	}
	return types.MapValueMust(instanceType, values)
}

func (o *observed) publicIP(i instance) *string {
	for _, a := range o.addresses {
		if aws.ToString(a.InstanceId) == i.id() {
			return a.PublicIp
		}
	}
	return nil
}

// commonTags returns the tags of the security groups and instances that all of
// them have: a tag that one lacks is drift.
func (o *observed) commonTags() map[string]string {
	var common map[string]string
	keep := func(tags []ec2types.Tag) {
		have := base.FlattenEC2Tags(tags)
		if have["Name"] == have[base.TagName] {
			delete(have, "Name") // the provider's own
		}
		for _, perThing := range []string{base.TagName, base.TagNode, base.TagRole} {
			delete(have, perThing)
		}
		if common == nil {
			common = have
		}
		maps.DeleteFunc(common, func(k, v string) bool { return have[k] != v })
	}
	for _, g := range o.groups {
		keep(g.Tags)
	}
	for _, i := range o.live {
		keep(i.Tags)
	}
	return common
}
