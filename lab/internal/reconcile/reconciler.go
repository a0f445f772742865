//go:build linux

// Package reconcile keeps the lab's machines, volumes, images and network in step
// with the account that moto holds, and corrects moto's responses to show the
// machines' real state: an instance is pending until its machine runs, and stopped
// once the machine has powered itself off.
//
// A [Reconciler] reads the whole account after every mutating call, and every few
// seconds besides, and acts on the difference, so a missed event is never lost for
// good. Each instance has a goroutine that starts and stops its machine.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/go-hclog"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/lab/internal/baseimage"
	"github.com/xeroops/xeroops/lab/internal/imagecache"
	"github.com/xeroops/xeroops/lab/internal/imds"
	"github.com/xeroops/xeroops/lab/internal/machine"
	"github.com/xeroops/xeroops/lab/internal/volume"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

const (
	// resyncInterval catches changes that bypassed the front. There should be none.
	resyncInterval = 5 * time.Second
	// minInterval leaves moto time for its other clients. A change takes effect
	// within this interval, one read and the change itself: less than a second.
	minInterval = 250 * time.Millisecond
)

// Options are the dependencies of a Reconciler.
type Options struct {
	EC2            *ec2.Client // connects to moto directly, bypassing injected faults
	IAM            *iam.Client
	Network        *vpcnet.Network
	Kind           machine.Kind
	Volumes        *volume.Store
	Images         *baseimage.Store
	Cache          *imagecache.Cache // images kept between labs
	BaseLayers     []string
	BaseImages     []string // ids of the AMIs that a new account has
	CredentialLife time.Duration
	Log            hclog.Logger
}

// Reconciler keeps the machines of one account in step with it.
type Reconciler struct {
	Options
	trigger     chan struct{}
	reconciling sync.Mutex // serializes reconcile, so that snapshots are adopted in order

	importing sync.Mutex // serializes imports, so that no image is registered twice

	mu        sync.Mutex
	reads     int // account reads started
	account   *account
	metadata  map[netip.Addr]imds.Instance
	instances map[string]*instance
	roles     map[string]string // instance profile ARN to role ARN
	volumes   map[string]int64  // sizes in bytes of the volumes that have a file
	forced    map[string]bool   // volumes to detach even if mounted
	images    map[string]image
	faults    faults
	running   sync.WaitGroup
}

// New returns a Reconciler. Call Run to start it.
func New(o Options) *Reconciler {
	r := &Reconciler{
		Options: o, trigger: make(chan struct{}, 1), account: &account{}, metadata: map[netip.Addr]imds.Instance{},
		instances: map[string]*instance{}, roles: map[string]string{}, volumes: map[string]int64{}, forced: map[string]bool{},
		images: map[string]image{}, faults: newFaults(),
	}
	for _, id := range o.BaseImages {
		r.images[id] = image{base: true}
	}
	return r
}

// Trigger schedules a reconciliation.
func (r *Reconciler) Trigger() {
	select {
	case r.trigger <- struct{}{}:
	default: // one is scheduled already
	}
}

// Run reconciles until ctx ends and returns once every instance's goroutine has
// ended. Machines keep running.
func (r *Reconciler) Run(ctx context.Context) {
	defer r.running.Wait()
	for {
		if err := r.reconcile(ctx); err != nil && ctx.Err() == nil {
			r.Log.Error("reconcile failed, retrying", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(minInterval):
		}
		select {
		case <-ctx.Done():
			return
		case <-r.trigger:
		case <-time.After(resyncInterval):
		}
	}
}

// reconcile reads the account once, applies it to volumes and network, and passes
// each instance its desired state.
func (r *Reconciler) reconcile(ctx context.Context) error {
	r.reconciling.Lock()
	defer r.reconciling.Unlock()
	r.mu.Lock()
	r.reads++
	read := r.reads
	r.mu.Unlock()
	a, err := readAccount(ctx, r.EC2)
	if err != nil {
		return err
	}
	roles := r.readRoles(ctx, a)
	volumesErr := r.makeVolumes(ctx, a)
	model := r.model(a, read)
	valid, invalid := model.Valid()
	if err := r.Network.Apply(ctx, valid); err != nil {
		return errors.Join(err, volumesErr)
	}
	r.adopt(ctx, a, roles, model, invalid, read)
	return errors.Join(volumesErr, r.dropVolumes(a), r.dropImages(ctx))
}

// readRoles returns the role of each instance profile in use, reading those that are
// not known yet.
func (r *Reconciler) readRoles(ctx context.Context, a *account) map[string]string {
	r.mu.Lock()
	known := r.roles
	r.mu.Unlock()
	roles := map[string]string{}
	for _, i := range a.instances {
		if i.IamInstanceProfile == nil {
			continue
		}
		arn := aws.ToString(i.IamInstanceProfile.Arn)
		if role, ok := known[arn]; ok && role != "" {
			roles[arn] = role
			continue
		}
		role, err := readRole(ctx, r.IAM, arn)
		if err != nil {
			r.Log.Warn("reading the role failed", "instance_id", *i.InstanceId, "error", err)
		}
		roles[arn] = role
	}
	return roles
}

// forgetRoles makes the next reconcile read all roles again.
func (r *Reconciler) forgetRoles() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roles = map[string]string{}
}

// model returns the network of the account's instances, including machines that are
// still shutting down, with the faults in force applied.
func (r *Reconciler) model(a *account, read int) vpcnet.Model {
	m := a.networkModel()
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := map[netip.Addr]bool{}
	present := map[string]bool{}
	for n := range m.Machines {
		machine := &m.Machines[n]
		taken[machine.Address], present[machine.ID] = true, true
		if i := r.instances[machine.ID]; i != nil {
			machine.Incarnation, machine.LinkDown = i.power(a.isOn(machine.ID), read)
		}
	}
	for id, i := range r.instances {
		last, on := i.lastNetwork()
		subnet, known := a.subnets[last.Subnet]
		if present[id] || !on || !known || taken[last.Address] {
			continue
		}
		last.Groups = slices.DeleteFunc(slices.Clone(last.Groups), func(id string) bool {
			return !slices.ContainsFunc(m.Groups, func(g vpcnet.Group) bool { return g.ID == id })
		})
		last.PublicAddress = netip.Addr{}
		m.Machines = append(m.Machines, last)
		if !slices.ContainsFunc(m.Subnets, func(s vpcnet.Subnet) bool { return s.ID == last.Subnet }) {
			m.Subnets = append(m.Subnets, a.networkSubnet(subnet))
		}
	}
	r.faults.apply(&m)
	return m
}

// adopt makes a the current snapshot of the account and passes each instance its
// desired state. invalid has the reason for each part of the model that was not
// applied to the network.
func (r *Reconciler) adopt(ctx context.Context, a *account, roles map[string]string, model vpcnet.Model, invalid map[string]error, read int) {
	networks := map[string]vpcnet.Machine{}
	for _, m := range model.Machines {
		networks[m.ID] = m
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.account, r.roles = a, roles
	r.metadata = map[netip.Addr]imds.Instance{}
	wanted := map[string]bool{}
	for _, i := range a.instances {
		id := *i.InstanceId
		network, ok := networks[id]
		if !ok {
			continue
		}
		wanted[id] = true
		controller := r.instances[id]
		if controller == nil {
			controller = newInstance(r, id)
			r.instances[id] = controller
			r.running.Go(func() { controller.run(ctx) })
		}
		controller.want(i, network, a.dataVolumes(id), invalid[id], read)
		if invalid[id] != nil {
			continue // another instance may have its address
		}
		role := ""
		if i.IamInstanceProfile != nil {
			role = roles[aws.ToString(i.IamInstanceProfile.Arn)]
		}
		r.metadata[network.Address] = a.metadata(i, role, controller.userData(), r.CredentialLife)
	}
	for id, i := range r.instances {
		if !wanted[id] {
			i.wantGone(read)
		}
	}
}

// forget drops an instance whose machine and disk are gone.
func (r *Reconciler) forget(id string) {
	r.mu.Lock()
	delete(r.instances, id)
	r.mu.Unlock()
	r.Trigger() // releases its network, and images that only it used
}

// Metadata returns the instance at a private address, for the metadata service.
func (r *Reconciler) Metadata(address netip.Addr) (imds.Instance, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.metadata[address]
	if i := r.instances[m.ID]; ok && i != nil {
		m.UserData = i.userData() // read at each start, later than the account
	}
	return m, ok
}

// Address resolves the private name of a node, NODE.CLUSTER.internal.
// It reports false if there is no such node.
func (r *Reconciler) Address(name string) (netip.Addr, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.account.instances {
		if node := tag(i.Tags, cluster.TagNode); node != "" && name == node+"."+tag(i.Tags, cluster.TagCluster)+".internal" {
			return parseAddress(i.PrivateIpAddress), true
		}
	}
	return netip.Addr{}, false
}

// EndpointPolicy returns the policy document of the S3 endpoint that an instance's
// subnet uses, or an empty string if there is none.
func (r *Reconciler) EndpointPolicy(instanceID string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.account.instances {
		if *i.InstanceId != instanceID {
			continue
		}
		subnet, ok := r.account.subnets[aws.ToString(i.SubnetId)]
		if !ok {
			return ""
		}
		if e := r.account.s3Endpoint(r.account.routeTable(subnet)); e != nil {
			return aws.ToString(e.PolicyDocument)
		}
	}
	return ""
}

// nextRead returns the number of the first account read that will see changes made
// before this call.
func (r *Reconciler) nextRead() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reads + 1
}

// find returns the instance with the given id, node tag or Name tag. If several have
// the tag, such as a node and its replacement, the account's one wins.
func (r *Reconciler) find(name string) (*instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, ok := r.instances[name]; ok {
		return i, nil
	}
	var known []string
	for _, i := range r.account.instances {
		for _, key := range []string{cluster.TagNode, "Name"} {
			value := tag(i.Tags, key)
			if value == name && r.instances[*i.InstanceId] != nil {
				return r.instances[*i.InstanceId], nil
			}
			if value != "" && !slices.Contains(known, value) {
				known = append(known, value)
			}
		}
	}
	return nil, fmt.Errorf("no instance %q in the lab; its instances are %v", name, known)
}

// isOn reports whether an instance of the account should run.
func (a *account) isOn(id string) bool {
	return slices.ContainsFunc(a.instances, func(i types.Instance) bool { return *i.InstanceId == id && isOn(i) })
}

// isOn reports whether the account's state of an instance is running or pending.
func isOn(i types.Instance) bool {
	return i.State != nil && (i.State.Name == types.InstanceStateNameRunning || i.State.Name == types.InstanceStateNamePending)
}
