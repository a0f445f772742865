//go:build linux

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/xeroops/xeroops/lab/internal/machine"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

// faults holds the network faults in force, by instance id.
type faults struct {
	partitions []vpcnet.Partition
	linkRates  map[string]uint64 // bits per second
	// linksDown maps instances to the incarnation whose link is down, because the
	// machine is frozen or its power is being cut.
	linksDown map[string]int
}

func newFaults() faults {
	return faults{linkRates: map[string]uint64{}, linksDown: map[string]int{}}
}

// apply adds the faults to a network model, except those of machines that it lacks.
func (f faults) apply(m *vpcnet.Model) {
	present := map[string]bool{"": true}
	for n := range m.Machines {
		machine := &m.Machines[n]
		present[machine.ID] = true
		machine.LinkBitsPerSecond = f.linkRates[machine.ID]
		if incarnation, down := f.linksDown[machine.ID]; down && incarnation == machine.Incarnation {
			machine.LinkDown = true
		}
	}
	for _, p := range f.partitions {
		if present[p.A] && present[p.B] {
			m.Partitions = append(m.Partitions, p)
		}
	}
}

// findOn returns an instance and its running machine, by node name or instance id.
func (r *Reconciler) findOn(name string) (*instance, machine.Machine, error) {
	i, err := r.find(name)
	if err != nil {
		return nil, nil, err
	}
	m := i.on()
	if m == nil {
		return nil, nil, fmt.Errorf("machine %s (%s): %w", name, i.id, machine.ErrNotRunning)
	}
	return i, m, nil
}

// PowerCut drops a machine's link and then kills all its processes: its peers get
// neither FIN nor RST. It returns once the instance is stopped.
func (r *Reconciler) PowerCut(ctx context.Context, name string) error {
	i, m, err := r.findOn(name)
	if err != nil {
		return err
	}
	if err := r.setLinkDown(ctx, i, true); err != nil {
		return err
	}
	if err := m.PowerCut(); err != nil {
		return err
	}
	return i.do(ctx, func(ctx context.Context) error {
		i.wentOff(ctx)
		return nil
	})
}

// setLinkDown takes the link of an instance's machine down, until the machine is off,
// or up again.
func (r *Reconciler) setLinkDown(ctx context.Context, i *instance, down bool) error {
	i.mu.Lock()
	incarnation := i.incarnation
	i.mu.Unlock()
	r.mu.Lock()
	if down {
		r.faults.linksDown[i.id] = incarnation
	} else {
		delete(r.faults.linksDown, i.id)
	}
	r.mu.Unlock()
	return r.reconcile(ctx)
}

// Freeze stops every process of a machine and drops its link until Thaw, as a
// stalled hypervisor does: the machine doesn't acknowledge packets either.
func (r *Reconciler) Freeze(ctx context.Context, name string) error {
	i, m, err := r.findOn(name)
	if err != nil {
		return err
	}
	if err := r.setLinkDown(ctx, i, true); err != nil {
		return err
	}
	return m.Freeze()
}

// Thaw resumes a frozen machine.
func (r *Reconciler) Thaw(ctx context.Context, name string) error {
	i, m, err := r.findOn(name)
	if err != nil {
		return err
	}
	return errors.Join(m.Thaw(), r.setLinkDown(ctx, i, false))
}

var errNoDataVolume = errors.New("no data volume is attached")

// SlowDisk limits access to a machine's data volumes; the zero limit lifts the fault.
func (r *Reconciler) SlowDisk(name string, limit machine.Throttle) error {
	i, m, err := r.findOn(name)
	if err != nil {
		return err
	}
	i.mu.Lock()
	var volumes []string
	for id := range i.attached {
		volumes = append(volumes, id)
	}
	i.mu.Unlock()
	if len(volumes) == 0 {
		return fmt.Errorf("slow disk of %s: %w; root volumes cannot be slowed", name, errNoDataVolume)
	}
	for _, id := range volumes {
		if err := m.Throttle(id, limit); err != nil {
			return fmt.Errorf("throttle volume %s of %s: %w", id, name, err)
		}
	}
	return nil
}

// SlowLink limits a machine's link; 0 lifts the fault.
func (r *Reconciler) SlowLink(ctx context.Context, name string, bitsPerSecond uint64) error {
	i, err := r.find(name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.faults.linkRates[i.id] = bitsPerSecond
	r.mu.Unlock()
	return r.reconcile(ctx)
}

// Partition cuts a machine off from others: node names, instance ids, subnet ids or
// CIDR blocks; from everything if there are none.
func (r *Reconciler) Partition(ctx context.Context, name string, others []string) error {
	i, err := r.find(name)
	if err != nil {
		return err
	}
	partitions := []vpcnet.Partition{{A: i.id}}
	if len(others) > 0 {
		partitions = nil
	}
	for _, other := range others {
		p := vpcnet.Partition{A: i.id}
		if cidr, ok := r.cidrOf(other); ok {
			p.CIDR = cidr
		} else if b, err := r.find(other); err == nil {
			p.B = b.id
		} else {
			return err
		}
		partitions = append(partitions, p)
	}
	r.mu.Lock()
	for _, p := range partitions {
		if !slices.Contains(r.faults.partitions, p) {
			r.faults.partitions = append(r.faults.partitions, p)
		}
	}
	r.mu.Unlock()
	return r.reconcile(ctx)
}

// cidrOf returns the address range that a CIDR block or a subnet id names.
func (r *Reconciler) cidrOf(name string) (netip.Prefix, bool) {
	r.mu.Lock()
	subnet, ok := r.account.subnets[name]
	r.mu.Unlock()
	if ok {
		name = aws.ToString(subnet.CidrBlock)
	}
	cidr, err := netip.ParsePrefix(name)
	return cidr, err == nil
}

// Heal ends all partitions, slow links and slow disks. Frozen machines stay frozen.
func (r *Reconciler) Heal(ctx context.Context) error {
	r.mu.Lock()
	r.faults.partitions, r.faults.linkRates = nil, map[string]uint64{}
	instances := slices.Collect(maps.Values(r.instances))
	r.mu.Unlock()
	errs := []error{r.reconcile(ctx)}
	for _, i := range instances {
		err := r.SlowDisk(i.id, machine.Throttle{})
		if !errors.Is(err, machine.ErrNotRunning) && !errors.Is(err, errNoDataVolume) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// PowerOn starts a stopped instance, such as after a power cut.
func (r *Reconciler) PowerOn(ctx context.Context, name string) error {
	i, err := r.find(name)
	if err != nil {
		return err
	}
	if _, err := r.EC2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{i.id}}); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	r.Trigger()
	return nil
}
