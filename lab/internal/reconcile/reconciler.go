//go:build linux

// Package reconcile makes the lab's machines, volumes, images and network equal
// to what the EC2 API (moto) says there should be, and the API's answers equal
// to what there is: an instance is pending until its machine runs, and stopped
// once it has powered itself off.
//
// It reads the whole account after each call that changed something (and every
// few seconds besides) and acts on the difference, so that no event can be
// missed for good. Each instance has a goroutine that starts and stops it.
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
	// readEvery is for changes that no call through the front made: none should.
	readEvery = 5 * time.Second
	// restBetweenReads leaves moto time for its clients; a change takes effect
	// within this, a read and the change itself, which must stay under a second.
	restBetweenReads = 250 * time.Millisecond
)

// Options are what a reconciler works with.
type Options struct {
	EC2            *ec2.Client // moto itself, without the front's faults
	IAM            *iam.Client
	Network        *vpcnet.Network
	Kind           machine.Kind
	Volumes        *volume.Store
	Images         *baseimage.Store
	Cache          *imagecache.Cache // of images that outlive the lab
	BaseLayers     []string
	BaseImages     []string // ids of the images that the account began with
	CredentialLife time.Duration
	Log            hclog.Logger
}

// Reconciler keeps one account and its machines equal.
type Reconciler struct {
	Options
	trigger chan struct{}
	passing sync.Mutex // one pass at a time, so that readings are adopted in order

	importing sync.Mutex // one import at a time, so that none is made twice

	mu        sync.Mutex
	reads     int // readings begun
	account   *account
	metadata  map[netip.Addr]imds.Instance
	instances map[string]*instance
	roles     map[string]string // instance profile ARN to role ARN
	volumes   map[string]int64  // volumes that have a file, with their size in bytes
	forced    map[string]bool   // volumes to be detached by force
	images    map[string]image
	faults    faults
	running   sync.WaitGroup
}

// New returns a reconciler; Run makes it work.
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

// Trigger makes the reconciler look at the account soon.
func (r *Reconciler) Trigger() {
	select {
	case r.trigger <- struct{}{}:
	default: // it is going to already
	}
}

// Run reconciles until ctx ends, and returns when no instance is being acted on
// any more. Machines go on running.
func (r *Reconciler) Run(ctx context.Context) {
	defer r.running.Wait()
	for {
		if err := r.pass(ctx); err != nil && ctx.Err() == nil {
			r.Log.Error("reconcile", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(restBetweenReads):
		}
		select {
		case <-ctx.Done():
			return
		case <-r.trigger:
		case <-time.After(readEvery):
		}
	}
}

// pass reads the account once, makes volumes and network equal to it, and tells
// each instance what it should be.
func (r *Reconciler) pass(ctx context.Context) error {
	r.passing.Lock()
	defer r.passing.Unlock()
	r.mu.Lock()
	r.reads++
	reading := r.reads
	r.mu.Unlock()
	a, err := readAccount(ctx, r.EC2)
	if err != nil {
		return err
	}
	roles := r.readRoles(ctx, a)
	volumesErr := r.makeVolumes(ctx, a)
	model, refused := r.model(a).Possible()
	if err := r.Network.Apply(ctx, model); err != nil {
		return errors.Join(err, volumesErr)
	}
	r.adopt(ctx, a, roles, refused, reading)
	return errors.Join(volumesErr, r.dropVolumes(a), r.dropImages(ctx))
}

// readRoles reads the roles of profiles that are not known yet.
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
			r.Log.Warn("instance has no role", "instance_id", *i.InstanceId, "error", err)
		}
		roles[arn] = role
	}
	return roles
}

// forgetRoles makes the next pass read all roles again.
func (r *Reconciler) forgetRoles() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roles = map[string]string{}
}

// model is the network of the account's instances, of machines that are on their
// way out, and of the faults in force.
func (r *Reconciler) model(a *account) vpcnet.Model {
	m := a.networkModel()
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := map[netip.Addr]bool{}
	present := map[string]bool{}
	for _, machine := range m.Machines {
		taken[machine.Address], present[machine.ID] = true, true
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

// adopt makes a reading of the account the one that everything goes by. Of what is
// refused, the network has nothing, for the reason given.
func (r *Reconciler) adopt(ctx context.Context, a *account, roles map[string]string, refused map[string]error, reading int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.account, r.roles = a, roles
	r.metadata = map[netip.Addr]imds.Instance{}
	wanted := map[string]bool{}
	for _, i := range a.instances {
		id := *i.InstanceId
		network, ok := a.networkMachine(i)
		if !ok {
			continue
		}
		wanted[id] = true
		acting := r.instances[id]
		if acting == nil {
			acting = newInstance(r, id)
			r.instances[id] = acting
			r.running.Go(func() { acting.run(ctx) })
		}
		acting.want(i, network, a.dataVolumes(id), refused[id], reading)
		if refused[id] != nil {
			continue // another may have its address
		}
		role := ""
		if i.IamInstanceProfile != nil {
			role = roles[aws.ToString(i.IamInstanceProfile.Arn)]
		}
		r.metadata[network.Address] = a.metadata(i, role, acting.userData(), r.CredentialLife)
	}
	for id, i := range r.instances {
		if !wanted[id] {
			i.wantGone(reading)
		}
	}
}

// forget drops an instance whose machine and disk are gone.
func (r *Reconciler) forget(id string) {
	r.mu.Lock()
	delete(r.instances, id)
	r.mu.Unlock()
	r.Trigger() // its network, and images that only it was on, can go
}

// Metadata is the instance at an address, for the metadata service.
func (r *Reconciler) Metadata(address netip.Addr) (imds.Instance, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.metadata[address]
	if i := r.instances[m.ID]; ok && i != nil {
		m.UserData = i.userData() // read after the account was
	}
	return m, ok
}

// Address resolves the private name of a node, NODE.CLUSTER.internal.
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

// EndpointPolicy is the policy document of the S3 endpoint that an instance's
// subnet uses, empty for none.
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

// nextReading is the number of the first reading that sees what was done before
// the call.
func (r *Reconciler) nextReading() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reads + 1
}

// find returns the instance with an id, or of a node or Name tag. Of several,
// such as a node and its replacement, the one that the account has wins.
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
	return nil, fmt.Errorf("no instance %q in the lab; there are %v", name, known)
}

// isOn says whether the account wants an instance to run.
func isOn(i types.Instance) bool {
	return i.State != nil && (i.State.Name == types.InstanceStateNameRunning || i.State.Name == types.InstanceStateNamePending)
}
