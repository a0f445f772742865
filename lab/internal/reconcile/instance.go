//go:build linux

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/lab/internal/machine"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

const (
	// powerOffTimeout is how long a guest may take to shut down before its power
	// is cut; EC2 gives it some minutes.
	powerOffTimeout = 60 * time.Second
	// retryAfter is the pause after something failed, such as a detach of a volume
	// that is still mounted.
	retryAfter = time.Second
)

// instance makes one EC2 instance's machine what the account wants. All that
// touches the machine happens in its run goroutine.
type instance struct {
	r     *Reconciler
	id    string
	wake  chan struct{}
	tasks chan func(context.Context)
	ended chan struct{} // closed when nobody acts on the instance any more

	mu       sync.Mutex
	wanted   types.Instance
	network  vpcnet.Machine
	volumes  map[string]string // wanted: id to device name
	attached map[string]bool   // volumes that have a loop device for this machine
	refused  error             // why the network can't have it, or nil
	gone     bool              // wanted
	heedFrom int               // readings before this one are of the past
	machine  machine.Machine   // nil when off
	data     []byte            // user-data of the last start
	lastErr  error
}

func newInstance(r *Reconciler, id string) *instance {
	return &instance{
		r: r, id: id, attached: map[string]bool{},
		wake: make(chan struct{}, 1), tasks: make(chan func(context.Context)), ended: make(chan struct{}),
	}
}

// want tells what the account says, as of a reading, and why that can't be.
func (i *instance) want(wanted types.Instance, network vpcnet.Machine, volumes map[string]string, refused error, reading int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if reading < i.heedFrom {
		return
	}
	i.wanted, i.network, i.volumes, i.refused = wanted, network, volumes, refused
	i.signal()
}

func (i *instance) wantGone(reading int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if reading < i.heedFrom {
		return
	}
	i.gone = true
	i.signal()
}

func (i *instance) signal() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// lastNetwork is the interface that the account gave the instance last, and
// whether there is a machine on it.
func (i *instance) lastNetwork() (vpcnet.Machine, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.network, i.machine != nil
}

func (i *instance) userData() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.data
}

// latest is the account's instance.
func (i *instance) latest() types.Instance {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wanted
}

// on returns the running machine or nil.
func (i *instance) on() machine.Machine {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.machine
}

// isUp says whether the machine reached multi-user.
func (i *instance) isUp() bool {
	m := i.on()
	if m == nil {
		return false
	}
	select {
	case <-m.Ready():
		return true
	default:
		return false
	}
}

// run acts until the instance is gone or ctx ends.
func (i *instance) run(ctx context.Context) {
	defer close(i.ended)
	for {
		err := i.converge(ctx)
		i.note(err)
		if i.mayForget(err) {
			i.r.forget(i.id)
			return
		}
		var retry <-chan time.Time
		if err != nil {
			retry = time.After(retryAfter)
		}
		var off <-chan struct{}
		if m := i.on(); m != nil {
			off = m.Done()
		}
		select {
		case <-ctx.Done():
			return
		case <-i.wake:
		case <-retry:
		case task := <-i.tasks:
			task(ctx)
		case <-off:
			i.wentOff(ctx)
		}
	}
}

// note logs an error when it is a new one.
func (i *instance) note(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil && (i.lastErr == nil || i.lastErr.Error() != err.Error()) {
		i.r.Log.Error("instance", "instance_id", i.id, "node", tag(i.wanted.Tags, cluster.TagNode), "error", err)
	}
	i.lastErr = err
}

func (i *instance) mayForget(err error) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.gone && i.machine == nil && err == nil
}

// do runs a task in the instance's goroutine and waits for it.
func (i *instance) do(ctx context.Context, task func(context.Context) error) error {
	done := make(chan error, 1)
	select {
	case i.tasks <- func(ctx context.Context) { done <- task(ctx) }:
		return <-done
	case <-i.ended:
		return fmt.Errorf("instance %s is gone", i.id)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *instance) converge(ctx context.Context) error {
	i.mu.Lock()
	gone, wanted, m, refused := i.gone, i.wanted, i.machine, i.refused
	i.mu.Unlock()
	switch {
	case gone:
		if err := i.powerOff(ctx); err != nil {
			return err
		}
		return i.r.Kind.Delete(i.id)
	case isOn(wanted) && m == nil && refused != nil:
		return refused
	case isOn(wanted) && m == nil:
		return i.start(ctx)
	case isOn(wanted):
		return i.changeVolumes(m)
	case m != nil:
		return i.powerOff(ctx)
	}
	return i.releaseVolumes()
}

// start boots the machine.
func (i *instance) start(ctx context.Context) error {
	layers, err := i.r.layers(aws.ToString(i.latest().ImageId))
	if err != nil {
		return err
	}
	data, err := readUserData(ctx, i.r.EC2, i.id)
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.data = data
	network, wanted := i.network, i.volumes
	i.mu.Unlock()
	spec := machine.Spec{
		ID: i.id, Hostname: "ip-" + strings.ReplaceAll(network.Address.String(), ".", "-"), Layers: layers,
		NetworkNamespace: i.r.Network.NamespacePath(i.id),
	}
	for id := range wanted {
		v, err := i.loop(id)
		if err != nil {
			return err
		}
		spec.Volumes = append(spec.Volumes, v)
	}
	began := time.Now()
	m, err := i.r.Kind.Start(ctx, spec)
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.machine = m
	i.mu.Unlock()
	i.r.Log.Info("machine started", "instance_id", i.id, "node", tag(i.latest().Tags, cluster.TagNode), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// powerOff shuts the machine down, by force if it doesn't comply, and gives its
// loop devices back.
func (i *instance) powerOff(ctx context.Context) error {
	m := i.on()
	if m == nil {
		return i.releaseVolumes()
	}
	patience, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	if err := m.PowerOff(patience); err != nil && !errors.Is(err, machine.ErrNotRunning) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		i.r.Log.Warn("machine doesn't shut down; its power is cut", "instance_id", i.id, "error", err)
		if err := m.PowerCut(); err != nil && !errors.Is(err, machine.ErrNotRunning) {
			return err
		}
	}
	<-m.Done()
	return i.isOff()
}

func (i *instance) isOff() error {
	i.mu.Lock()
	i.machine = nil
	i.mu.Unlock()
	return i.releaseVolumes()
}

// wentOff tells the account that a machine is off by its own doing or by a
// fault. EC2 terminates the instance instead if it was launched so.
func (i *instance) wentOff(ctx context.Context) {
	m := i.on()
	if m == nil {
		return
	}
	why := m.Err()
	i.note(i.isOff())
	i.mu.Lock()
	expected := i.gone || !isOn(i.wanted)
	i.mu.Unlock()
	if expected {
		return
	}
	i.r.Log.Info("machine went off", "instance_id", i.id, "node", tag(i.latest().Tags, cluster.TagNode), "why", why)
	if why == nil && i.terminatesOnShutdown(ctx) {
		_, err := i.r.EC2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{i.id}})
		i.note(err)
	} else {
		_, err := i.r.EC2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{i.id}})
		i.note(err)
	}
	next := i.r.nextReading()
	i.mu.Lock()
	i.heedFrom = next
	i.wanted.State = &types.InstanceState{Name: types.InstanceStateNameStopped}
	i.mu.Unlock()
	i.r.Trigger()
}

func (i *instance) terminatesOnShutdown(ctx context.Context) bool {
	out, err := i.r.EC2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: &i.id, Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior})
	return err == nil && out.InstanceInitiatedShutdownBehavior != nil &&
		aws.ToString(out.InstanceInitiatedShutdownBehavior.Value) == string(types.ShutdownBehaviorTerminate)
}

// state is the instance's state as EC2 would show it, given moto's word.
func (i *instance) state(moto types.InstanceStateName) types.InstanceStateName {
	on := i.on() != nil
	switch moto {
	case types.InstanceStateNameRunning, types.InstanceStateNamePending:
		if !on {
			return types.InstanceStateNamePending
		}
		return types.InstanceStateNameRunning
	case types.InstanceStateNameStopped, types.InstanceStateNameStopping:
		if on {
			return types.InstanceStateNameStopping
		}
		return types.InstanceStateNameStopped
	case types.InstanceStateNameTerminated:
		return types.InstanceStateNameShuttingDown // until it is forgotten
	}
	return moto
}
