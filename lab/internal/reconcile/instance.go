//go:build linux

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	// is cut; EC2 allows several minutes.
	powerOffTimeout = 60 * time.Second
	// retryInterval is the pause after a failure, such as detaching a volume that is
	// still mounted.
	retryInterval = time.Second
)

// instance controls the machine of one EC2 instance. Everything that starts or stops
// the machine runs in its run goroutine, except PowerCut.
type instance struct {
	r     *Reconciler
	id    string
	wake  chan struct{}
	tasks chan func(context.Context)
	ended chan struct{} // closed when the run goroutine has ended

	mu          sync.Mutex
	wanted      types.Instance
	network     vpcnet.Machine
	volumes     map[string]string // wanted volumes: id to device name
	attached    map[string]bool   // volumes that have a loop device for this machine
	invalid     error             // why the network model excludes the instance, or nil
	gone        bool              // the account no longer has the instance
	validFrom   int               // account reads before this one are outdated
	machine     machine.Machine   // nil when off
	incarnation int               // how often the machine has gone off
	data        []byte            // user data of the last start
	lastErr     error
}

func newInstance(r *Reconciler, id string) *instance {
	return &instance{
		r: r, id: id, attached: map[string]bool{},
		wake: make(chan struct{}, 1), tasks: make(chan func(context.Context)), ended: make(chan struct{}),
	}
}

// want sets the desired state, as of an account read, and the reason why the network
// excludes the instance, if it does.
func (i *instance) want(wanted types.Instance, network vpcnet.Machine, volumes map[string]string, invalid error, read int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if read < i.validFrom {
		return
	}
	i.wanted, i.network, i.volumes, i.invalid = wanted, network, volumes, invalid
	i.signal()
}

// wantGone records that the account no longer has the instance.
func (i *instance) wantGone(read int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if read < i.validFrom {
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

// power returns the machine's incarnation, and whether it is off and to stay off
// given what an account read says. An outdated read is ignored.
func (i *instance) power(wantedOn bool, read int) (incarnation int, off bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if read < i.validFrom {
		wantedOn = isOn(i.wanted)
	}
	return i.incarnation, i.machine == nil && !wantedOn
}

// lastNetwork returns the instance's last network interface, and whether its machine
// is on.
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

// latest returns the instance as the account last described it.
func (i *instance) latest() types.Instance {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wanted
}

// on returns the running machine, or nil.
func (i *instance) on() machine.Machine {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.machine
}

// isUp reports whether the machine has reached multi-user.target.
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

// run converges until the instance is gone or ctx ends.
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
			retry = time.After(retryInterval)
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

// note records the last error and logs it if it is a new one.
func (i *instance) note(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil && (i.lastErr == nil || i.lastErr.Error() != err.Error()) {
		i.r.Log.Error("instance failed", "instance_id", i.id, "node", tag(i.wanted.Tags, cluster.TagNode), "error", err)
	}
	i.lastErr = err
}

// mayForget reports whether nothing of the instance is left to clean up.
func (i *instance) mayForget(err error) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.gone && i.machine == nil && err == nil
}

// do runs a task in the run goroutine and waits for it.
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

// converge moves the machine to the desired state.
func (i *instance) converge(ctx context.Context) error {
	i.mu.Lock()
	gone, wanted, m, invalid := i.gone, i.wanted, i.machine, i.invalid
	networkIsOld := i.network.Incarnation != i.incarnation
	i.mu.Unlock()
	switch {
	case gone:
		if err := i.powerOff(ctx); err != nil {
			return err
		}
		return i.r.Kind.Delete(i.id)
	case isOn(wanted) && m == nil && invalid != nil:
		return invalid
	case isOn(wanted) && m == nil && networkIsOld:
		return nil // the reconcile that isOff triggered replaces the network and calls want
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

// powerOff shuts the machine down, by a power cut if it doesn't comply, and releases
// its loop devices.
func (i *instance) powerOff(ctx context.Context) error {
	m := i.on()
	if m == nil {
		return i.releaseVolumes()
	}
	shutdown, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	if err := m.PowerOff(shutdown); err != nil && !errors.Is(err, machine.ErrNotRunning) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		i.r.Log.Warn("shutdown timed out, cutting power", "instance_id", i.id, "error", err)
		if err := m.PowerCut(); err != nil && !errors.Is(err, machine.ErrNotRunning) {
			return err
		}
	}
	<-m.Done()
	return i.isOff()
}

// isOff records that the machine is off and releases its loop devices.
func (i *instance) isOff() error {
	i.mu.Lock()
	i.machine = nil
	i.incarnation++
	i.mu.Unlock()
	i.r.Trigger()
	return i.releaseVolumes()
}

// wentOff stops the instance in the account after its machine went off by itself or
// by a fault. Like EC2, it terminates the instance instead if its shutdown behavior
// says so. It does nothing while the machine is on.
func (i *instance) wentOff(ctx context.Context) {
	m := i.on()
	if m == nil {
		return
	}
	select {
	case <-m.Done():
	default:
		return
	}
	why := m.Err()
	i.mu.Lock()
	expected := i.gone || !isOn(i.wanted)
	if !expected { // before isOff, which would bring the link up for an instance that should run
		i.wanted.State = &types.InstanceState{Name: types.InstanceStateNameStopped}
		i.validFrom = math.MaxInt
	}
	i.mu.Unlock()
	i.note(i.isOff())
	if expected {
		return
	}
	i.r.Log.Info("machine powered off", "instance_id", i.id, "node", tag(i.latest().Tags, cluster.TagNode), "reason", why)
	if why == nil && i.terminatesOnShutdown(ctx) {
		_, err := i.r.EC2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{i.id}})
		i.note(err)
	} else {
		_, err := i.r.EC2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{i.id}})
		i.note(err)
	}
	next := i.r.nextRead()
	i.mu.Lock()
	i.validFrom = next
	i.mu.Unlock()
	i.r.Trigger()
}

// terminatesOnShutdown reports whether the instance's shutdown behavior is terminate.
func (i *instance) terminatesOnShutdown(ctx context.Context) bool {
	out, err := i.r.EC2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: &i.id, Attribute: types.InstanceAttributeNameInstanceInitiatedShutdownBehavior})
	return err == nil && out.InstanceInitiatedShutdownBehavior != nil &&
		aws.ToString(out.InstanceInitiatedShutdownBehavior.Value) == string(types.ShutdownBehaviorTerminate)
}

// state returns the state that EC2 would report, given the one that moto reports.
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
		return types.InstanceStateNameShuttingDown // while the machine is still there
	}
	return moto
}
