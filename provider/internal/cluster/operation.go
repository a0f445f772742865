package cluster

import (
	"context"
	"reflect"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/cluster/clusterobject"
	"github.com/xeroops/xeroops/provider/internal/cluster/connectendpoint"
	"github.com/xeroops/xeroops/provider/internal/cluster/iamrole"
	"github.com/xeroops/xeroops/provider/internal/cluster/securitygroup"
	"github.com/xeroops/xeroops/provider/internal/cluster/vpnroute"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// component is one kind of thing that a cluster consists of besides its
// instances. Components do not depend on each other; newOperation connects them.
type component interface {
	// Observe reads what exists. It has no side effect.
	Observe(ctx context.Context) error
	// Ensure creates what is missing and repairs what differs. It may be
	// interrupted at any call and run again.
	Ensure(ctx context.Context) error
	// Drift describes what differs from the specification, one sentence each.
	Drift(ctx context.Context) []string
	// Delete deletes everything that Observe found and the cluster owns.
	Delete(ctx context.Context) error
}

// components returns all components. A new one is added here, to newOperation,
// and to the steps of converge and destroy that create and delete it.
func (op *operation) components() []component {
	return []component{op.groups, op.roles, op.routes, op.objects, op.endpoint}
}

// operation is one run of create, read, update or delete on a cluster.
type operation struct {
	observer
	spec     *clusterspec.Spec
	groups   *securitygroup.Groups
	roles    *iamrole.Roles
	routes   *vpnroute.Routes
	objects  *clusterobject.Objects
	endpoint *connectendpoint.Endpoint

	creating      bool                        // there is no state
	before        map[string]clusterspec.Node // nodes as the state has them
	toLaunch      []clusterspec.Node          // to launch or restart, according to the plan; others may be lost since
	setProtection bool                        // termination_protection was changed
	setTags       bool                        // tags were changed: also set those that cost a call to read
	priorStatus   string                      // before this run; "" if it is the first

	managedTags func(node string) base.ManagedTags // of a node's objects; of "", of all others

	dependencies      dependencies
	observed          bool            // by the plan, moments ago
	changed           bool            // something at AWS may have been changed
	mayHaveLaunched   bool            // an instance may have been launched
	launched          bool            // some instance was launched or started
	launchedNow       map[string]bool // ids of instances that this run launched
	stopped           map[string]bool // nodes that this run stopped to change them
	readinessVerified bool            // readiness was waited for
	unready           []nodeReport    // nodes that did not report ready in time
}

func (r *clusterResource) newOperation(m clusterModel) *operation {
	op := newOperation(r.ProviderData, m.spec())
	op.objects.VPNPublicKey = publicKeyOf(m.VPN)
	return op
}

// newCreate returns the operation of a create: that of the plan with all it observed,
// if Terraform made the plan moments ago in this process, or a new one.
func (r *clusterResource) newCreate(m clusterModel) *operation {
	op := r.newOperation(m)
	op.creating, op.toLaunch = true, op.spec.SortedNodes()
	value, recent := r.PlanCache.Take(clusterTypeName, op.cacheKey())
	if planned, ok := value.(*operation); ok && recent && reflect.DeepEqual(planned.spec, op.spec) {
		planned.observed = true
		return planned
	}
	return op
}

// cacheKey identifies the cluster in the provider's plan cache.
func (op *operation) cacheKey() string { return op.spec.VPCID + "/" + op.spec.Name }

func newOperation(p *base.ProviderData, spec *clusterspec.Spec) *operation {
	op := &operation{observer: newObserver(p, spec.Name, spec.Buckets.Uploads), spec: spec, stopped: map[string]bool{}, launchedNow: map[string]bool{},
		managedTags: func(string) base.ManagedTags { return base.ManagedTags{Settings: p.Tags} }}
	op.configured = locations(spec)
	op.groups = securitygroup.New(p, spec)
	op.roles = iamrole.New(p.Client, p.Encryption, spec)
	op.routes = vpnroute.New(p, spec, vpnroute.Inputs{
		Gateway: op.gatewayInterface, FormerRanges: op.groups.FormerVPNRanges, OwnsGroup: op.groups.Owns})
	op.objects = clusterobject.New(p, spec, clusterobject.Inputs{
		VPNEndpoint: op.vpnEndpoint, VPCCIDR: func() string { return op.actual.vpcCIDR }})
	op.endpoint = connectendpoint.New(p.Client.EC2, spec, func() string { return op.groups.ID(securitygroup.EndpointRole) })
	return op
}

// setState tells the operation the nodes of the state.
func (op *operation) setState(state clusterModel) {
	spec := state.spec()
	op.former, op.before = locations(spec), spec.Nodes
}

// locations returns the location of each node, by name.
func locations(spec *clusterspec.Spec) map[string]string {
	at := map[string]string{}
	for _, n := range spec.Nodes {
		at[n.Name] = location(n.SubnetID, n.Address)
	}
	return at
}

// observe reads all of the cluster in parallel, and runs the additional steps at
// the same time.
func (op *operation) observe(ctx context.Context, additional ...base.Step) error {
	op.actual = newActual(op.spec.VPCID)
	steps := append(additional, op.observeProtectedInstances, op.observeAddresses)
	for _, c := range op.components() {
		steps = append(steps, c.Observe)
	}
	if err := base.Parallel(ctx, steps...); err != nil {
		return err
	}
	return op.observeTenancy(ctx)
}

// claimed returns the cluster as the holder of its claim.
func (op *operation) claimed() base.Claimed {
	return base.Claimed{Kind: clusterTypeName, ID: op.spec.Name, Tag: op.groups.ActualClaim(), Write: op.groups.WriteClaim,
		Reread: func(ctx context.Context) (string, bool, error) {
			err := op.groups.Observe(ctx)
			return op.groups.ActualClaim(), op.groups.Exist(), err
		}}
}

// drift describes all changes made outside Terraform that no attribute shows.
func (op *operation) drift(ctx context.Context) []string {
	found := op.driftOfNodes()
	for _, c := range op.components() {
		found = slices.Concat(found, c.Drift(ctx))
	}
	return found
}

// nothingExists reports whether nothing of the cluster exists at AWS. Objects
// in S3 do not count: the bucket is the customer's.
func (op *operation) nothingExists() bool {
	return len(op.actual.live) == 0 && len(op.actual.surplus) == 0 && !op.groups.Exist() && !op.roles.Exist()
}

// status returns the attribute status after converge returned err.
func (op *operation) status(err error) string {
	switch {
	case err != nil:
		return statusIncomplete
	case !op.launched && op.priorStatus != "" && op.priorStatus != statusIncomplete:
		return op.priorStatus
	case !op.readinessVerified || len(op.unready) > 0:
		return statusUnverified
	}
	return statusReady
}

// warnUnready adds a warning for each node that is not ready, where that is not
// an error.
func (op *operation) warnUnready(diags *diag.Diagnostics) {
	for _, n := range op.unready {
		diags.AddWarning(clusterTypeName+" "+op.spec.Name+": node "+n.Node+" is not ready", "Node "+n.Node+": "+n.describe())
	}
}
