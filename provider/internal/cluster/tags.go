package cluster

import (
	"context"
	"maps"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// clusterTagRules count the tags of an instance: base.TagCluster, base.TagNode,
// base.TagRole, tagGeneration and tagAddress, in place of base.TagClaim.
var clusterTagRules = base.TagRules{Extra: 4, Service: "IAM", Parts: nodeTagAttributes}

// nodeTagAttributes returns the tags of the nodes of a plan or state that have any,
// as far as they are known, by node.
func nodeTagAttributes(ctx context.Context, from base.Attributes, diags *diag.Diagnostics) map[string]base.TagAttribute {
	var nodes types.Map
	diags.Append(from.GetAttribute(ctx, path.Root("nodes"), &nodes)...)
	found := map[string]base.TagAttribute{}
	for name, value := range nodes.Elements() {
		node, _ := value.(types.Object)
		if tags, ok := node.Attributes()["tags"].(types.Map); ok && !tags.IsNull() {
			found[name] = base.TagAttribute{Path: path.Root("nodes").AtMapKey(name).AtName("tags"), Tags: tags}
		}
	}
	return found
}

// nodeTags returns the tags attribute of each node.
func (m clusterModel) nodeTags() map[string]types.Map {
	of := map[string]types.Map{}
	for name, n := range m.Nodes {
		of[name] = n.Tags
	}
	return of
}

// sameTags reports whether two models have the same tags, on the cluster and on the
// nodes that both have.
func (m clusterModel) sameTags(o clusterModel) bool {
	for name, n := range m.Nodes {
		if other, both := o.Nodes[name]; both && !n.Tags.Equal(other.Tags) {
			return false
		}
	}
	return m.TagsAll.Equal(o.TagsAll)
}

// nodeTags returns the tags of a node's instance, root volume and network interface.
func (op *operation) nodeTags(node clusterspec.Node, generation string) []ec2types.Tag {
	customers, _ := base.TagMap(op.spec.TagsAll)
	for key, value := range node.Tags {
		if !op.Tags.Ignores(key) {
			customers[key] = value
		}
	}
	return base.ExpandEC2Tags(base.AllTags(op.spec.Name+"-"+node.Name, customers, map[string]string{base.TagCluster: op.spec.Name,
		base.TagNode: node.Name, base.TagRole: string(node.Role), tagGeneration: generation,
		tagAddress: location(node.SubnetID, node.Address)}))
}

// wantedNodeTags returns the tags of a node's existing instance.
func (op *operation) wantedNodeTags(n clusterspec.Node, i instance) []ec2types.Tag {
	generation, ok := base.FlattenEC2Tags(i.Tags)[tagGeneration]
	if !ok {
		generation = strconv.Itoa(0)
	}
	return op.nodeTags(n, generation)
}

func (op *operation) tagsDiffer(n clusterspec.Node, i instance) bool {
	set, remove := op.managedTags(n.Name).Changes(base.FlattenEC2Tags(i.Tags), base.FlattenEC2Tags(op.wantedNodeTags(n, i)))
	return len(set)+len(remove) > 0
}

// tagRootVolume sets the tags of a node's root volume to those of its instance.
func (op *operation) tagRootVolume(ctx context.Context, n clusterspec.Node, i instance) error {
	volume, exists, err := op.Describe.Volumes.Get(ctx, i.volumeAt(aws.ToString(i.RootDeviceName)))
	if err != nil || !exists {
		return err
	}
	return base.SetEC2Tags(ctx, op.Client.EC2, aws.ToString(volume.VolumeId), volume.Tags, op.wantedNodeTags(n, i), op.managedTags(n.Name))
}

// tagInterface sets the tags of a node's network interface to those of its instance.
func (op *operation) tagInterface(ctx context.Context, n clusterspec.Node, i instance) error {
	found, exists, err := op.Describe.NetworkInterfaces.Get(ctx, i.interfaceID())
	if err != nil || !exists {
		return err
	}
	return base.SetEC2Tags(ctx, op.Client.EC2, i.interfaceID(), found.TagSet, op.wantedNodeTags(n, i), op.managedTags(n.Name))
}

// commonTags returns the tags that all security groups and instances have with the
// same value: a tag that one of them lacks is drift. A node whose own tags override
// one does not count.
func (op *operation) commonTags() map[string]string {
	type tagged struct{ tags, overridden map[string]string }
	var all []tagged
	for _, group := range op.groups.Tags() {
		all = append(all, tagged{withoutOwn(group), nil})
	}
	for name, i := range op.actual.live {
		all = append(all, tagged{withoutOwn(i.Tags), op.spec.Nodes[name].Tags})
	}
	common := map[string]string{}
	for _, one := range all {
		for key, value := range one.tags {
			if _, overrides := one.overridden[key]; !overrides {
				common[key] = value
			}
		}
	}
	for _, one := range all {
		maps.DeleteFunc(common, func(key, value string) bool {
			_, overrides := one.overridden[key]
			have, exists := one.tags[key]
			return !overrides && (!exists || have != value)
		})
	}
	return common
}

// withoutOwn returns an object's tags without those by which the provider tells it
// from others.
func withoutOwn(tags []ec2types.Tag) map[string]string {
	have := base.FlattenEC2Tags(tags)
	if have["Name"] == have[base.TagName] {
		delete(have, "Name") // set by the provider
	}
	for _, own := range []string{base.TagName, base.TagNode, base.TagRole} {
		delete(have, own)
	}
	return have
}

// nodeTagsFromAWS returns the attribute tags of a node, which shows only the keys
// that the state has. After an import it is null.
func (op *operation) nodeTagsFromAWS(i instance, state types.Map) types.Map {
	if state.IsNull() {
		return types.MapNull(types.StringType)
	}
	tags, _ := op.Tags.TagsFromAWS(base.FlattenEC2Tags(i.Tags), state, types.MapValueMust(types.StringType, nil))
	return tags
}
