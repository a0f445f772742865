package cluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
	"github.com/xeroops/xeroops/provider/internal/storage"
)

// performance is that of a gp3 volume.
type performance struct{ iops, throughputMiBps int32 }

// rootVolume is an existing root volume.
type rootVolume struct {
	id      string
	sizeGiB int32
	performance
}

// rootPerformance returns the performance that the configuration has for the root volume
// of a node.
func rootPerformance(n clusterspec.Node) performance {
	return performance{cmp.Or(n.RootVolumeIOPS, storage.GP3MinIOPS), cmp.Or(n.RootVolumeThroughput, storage.GP3MinThroughputMiBps)}
}

// hasRootPerformance reports whether the node configures the performance of its root
// volume.
func hasRootPerformance(n clusterspec.Node) bool {
	return n.RootVolumeIOPS != 0 || n.RootVolumeThroughput != 0
}

// validateRootVolumes refuses a performance that a root volume of that size does not have.
func validateRootVolumes(nodes map[string]nodeModel, sizeGiB types.Int64, diags *diag.Diagnostics) {
	size := cmp.Or(sizeGiB.ValueInt64(), defaultRootGiB)
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		n, at := nodes[name], path.Root("nodes").AtMapKey(name)
		if n.RootIOPS.IsUnknown() {
			continue
		}
		iops, throughput := cmp.Or(n.RootIOPS.ValueInt64(), storage.GP3MinIOPS), n.RootMiBps.ValueInt64()
		if most := max(storage.GP3MinIOPS, storage.GP3IOPSPerGiB*size); !sizeGiB.IsUnknown() && iops > most {
			diags.AddAttributeError(at.AtName("root_volume_iops"), "Too many IOPS for the size of the root volume",
				fmt.Sprintf("A root volume of %d GiB has at most %d IOPS, %d per GiB; reduce root_volume_iops of node %s, or increase root_volume_gib.", size, most, storage.GP3IOPSPerGiB, name))
		}
		if throughput*storage.GP3IOPSPerMiBps > iops {
			diags.AddAttributeError(at.AtName("root_volume_throughput"), "Too much throughput for the IOPS of the root volume",
				fmt.Sprintf("%d MiB/s need %d IOPS, %d per MiB/s, and the root volume of node %s has %d; increase root_volume_iops, or reduce root_volume_throughput.",
					throughput, throughput*storage.GP3IOPSPerMiBps, storage.GP3IOPSPerMiBps, name, iops))
		}
	}
}

// rootVolumesChange reports whether a plan changes the performance of the root volume of
// some node that exists.
func rootVolumesChange(plan, state clusterModel) bool {
	for name, n := range plan.Nodes {
		if before, existed := state.Nodes[name]; existed && (!n.RootIOPS.Equal(before.RootIOPS) || !n.RootMiBps.Equal(before.RootMiBps)) {
			return true
		}
	}
	return false
}

// setRootPerformance sets the performance of the root volume of a launch.
func setRootPerformance(root *ec2types.EbsBlockDevice, n clusterspec.Node) {
	if hasRootPerformance(n) {
		p := rootPerformance(n)
		root.Iops, root.Throughput = &p.iops, &p.throughputMiBps
	}
}

// observeRootVolumes describes the root volumes of the nodes whose performance is or was
// configured. Without such nodes it makes no call.
func (op *operation) observeRootVolumes(ctx context.Context) error {
	op.actual.roots = map[string]rootVolume{}
	var steps []base.Step
	for _, n := range op.spec.SortedNodes() {
		i, lives := op.actual.live[n.Name]
		if !lives || !hasRootPerformance(n) && !hasRootPerformance(op.before[n.Name]) {
			continue
		}
		steps = append(steps, func(ctx context.Context) error {
			v, exists, err := op.Describe.Volumes.Get(ctx, i.volumeAt(aws.ToString(i.RootDeviceName)))
			if err != nil || !exists {
				return err
			}
			op.actual.setRoot(i, rootVolume{aws.ToString(v.VolumeId), aws.ToInt32(v.Size), performance{aws.ToInt32(v.Iops), aws.ToInt32(v.Throughput)}})
			return nil
		})
	}
	return base.ParallelUnbounded(ctx, steps...) // Describe gathers the calls into one
}

func (a *actualState) setRoot(i instance, v rootVolume) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roots[i.id()] = v
}

// rootVolumeDiffers reports whether the performance of an instance's root volume has to be
// set. A launch sets it.
func (op *operation) rootVolumeDiffers(n clusterspec.Node, i instance) bool {
	op.actual.mu.Lock()
	defer op.actual.mu.Unlock()
	actual, observed := op.actual.roots[i.id()]
	return observed && actual.performance != rootPerformance(n)
}

// checkRootVolumes checks that the existing root volumes, which may be smaller than those
// of later launches, can have the performance.
func (op *operation) checkRootVolumes() error {
	for _, n := range op.spec.SortedNodes() {
		i, lives := op.actual.live[n.Name]
		if !lives || op.toBeReplaced(n) || !op.rootVolumeDiffers(n, i) {
			continue
		}
		size, iops := op.actual.roots[i.id()].sizeGiB, rootPerformance(n).iops
		if most := max(storage.GP3MinIOPS, storage.GP3IOPSPerGiB*size); iops > most {
			return base.AtAttribute(path.Root("nodes").AtMapKey(n.Name).AtName("root_volume_iops"), fmt.Errorf(
				"node %s: its root volume was launched with %d GiB, which have at most %d IOPS, %d per GiB; reduce root_volume_iops until another image_id replaces the node with a larger root volume", n.Name, size, most, storage.GP3IOPSPerGiB))
		}
	}
	return nil
}

// setRootVolume sets the performance of an instance's root volume.
// setRootVolumes sets the performance of the root volumes. It is at the end, because EBS
// refuses a change soon after another, which must not stop a rollout.
func (op *operation) setRootVolumes(ctx context.Context) error {
	var steps []base.Step
	for _, n := range op.spec.SortedNodes() {
		if i, lives := op.actual.live[n.Name]; lives && op.rootVolumeDiffers(n, i) {
			steps = append(steps, func(ctx context.Context) error {
				if err := op.setRootVolume(ctx, n, i); err != nil {
					return fmt.Errorf("node %s (%s): set the performance of its root volume: %w", n.Name, i.id(), err)
				}
				return nil
			})
		}
	}
	return base.ParallelAll(ctx, steps...)
}

func (op *operation) setRootVolume(ctx context.Context, n clusterspec.Node, i instance) error {
	op.actual.mu.Lock()
	v := op.actual.roots[i.id()]
	op.actual.mu.Unlock()
	v.performance = rootPerformance(n)
	err := storage.Modify(ctx, op.Client.EC2, v.id, storage.Modification{Type: ec2types.VolumeTypeGp3, IOPS: &v.iops, ThroughputMiBps: &v.throughputMiBps})
	switch {
	case err == nil:
		op.actual.setRoot(i, v)
	case awswait.HasCode(err, "InvalidParameterValue", "InvalidParameterCombination", "MaxIOPSLimitExceeded"):
		err = base.AtAttribute(path.Root("nodes").AtMapKey(n.Name).AtName("root_volume_iops"), err)
	}
	return err
}
