//go:build linux

package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/xeroops/xeroops/lab/internal/machine"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

// faults are the network faults in force, by instance id.
type faults struct {
	partitions []vpcnet.Partition
	linkRates  map[string]uint64 // bits per second
}

func newFaults() faults { return faults{linkRates: map[string]uint64{}} }

// apply adds the faults of machines that are there to a network.
func (f faults) apply(m *vpcnet.Model) {
	present := map[string]bool{"": true}
	for n := range m.Machines {
		present[m.Machines[n].ID] = true
		m.Machines[n].LinkBitsPerSecond = f.linkRates[m.Machines[n].ID]
	}
	for _, p := range f.partitions {
		if present[p.A] && present[p.B] {
			m.Partitions = append(m.Partitions, p)
		}
	}
}

// machineOf returns a running machine by its node's name or instance id.
func (r *Reconciler) machineOf(name string) (machine.Machine, error) {
	i, err := r.find(name)
	if err != nil {
		return nil, err
	}
	m := i.on()
	if m == nil {
		return nil, fmt.Errorf("machine %s (%s): %w", name, i.id, machine.ErrNotRunning)
	}
	return m, nil
}

// PowerCut ends a machine at once. Its instance becomes stopped; start it again
// through the API.
func (r *Reconciler) PowerCut(name string) error {
	m, err := r.machineOf(name)
	if err != nil {
		return err
	}
	return m.PowerCut()
}

// Freeze stops every process of a machine until Thaw.
func (r *Reconciler) Freeze(name string) error {
	m, err := r.machineOf(name)
	if err != nil {
		return err
	}
	return m.Freeze()
}

// Thaw lets a frozen machine go on.
func (r *Reconciler) Thaw(name string) error {
	m, err := r.machineOf(name)
	if err != nil {
		return err
	}
	return m.Thaw()
}

// SlowDisk limits a machine's data volumes; no limit lifts that.
func (r *Reconciler) SlowDisk(name string, limit machine.Throttle) error {
	i, err := r.find(name)
	if err != nil {
		return err
	}
	m, err := r.machineOf(name)
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
		return fmt.Errorf("slow the disk of %s: it has no data volume, and its root disk can't be slowed", name)
	}
	for _, id := range volumes {
		if err := m.Throttle(id, limit); err != nil {
			return fmt.Errorf("slow volume %s of %s: %w", id, name, err)
		}
	}
	return nil
}

// SlowLink limits a machine's link; 0 lifts the limit.
func (r *Reconciler) SlowLink(ctx context.Context, name string, bitsPerSecond uint64) error {
	i, err := r.find(name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.faults.linkRates[i.id] = bitsPerSecond
	r.mu.Unlock()
	return r.pass(ctx)
}

// Partition cuts two machines off from each other; with an empty b it cuts a off
// from everything.
func (r *Reconciler) Partition(ctx context.Context, a, b string) error {
	var p vpcnet.Partition
	for _, end := range []struct {
		name string
		id   *string
	}{{a, &p.A}, {b, &p.B}} {
		if end.name == "" {
			continue
		}
		i, err := r.find(end.name)
		if err != nil {
			return err
		}
		*end.id = i.id
	}
	r.mu.Lock()
	if !slices.Contains(r.faults.partitions, p) {
		r.faults.partitions = append(r.faults.partitions, p)
	}
	r.mu.Unlock()
	return r.pass(ctx)
}

// Heal ends every partition and slow link.
func (r *Reconciler) Heal(ctx context.Context) error {
	r.mu.Lock()
	r.faults = newFaults()
	r.mu.Unlock()
	return r.pass(ctx)
}

// PowerOn starts an instance that is stopped, as after a power cut.
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
