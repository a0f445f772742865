package clusterobject

import (
	"encoding/json"
	"fmt"
	"maps"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// plainObjects returns the content of the objects without secrets, by key.
func (o *Objects) plainObjects() (map[string]string, error) {
	topology, err := o.topology()
	if err != nil {
		return nil, err
	}
	objects := map[string]string{o.layout.Topology(): topology}
	for _, n := range o.spec.SortedNodes() {
		config, err := o.instanceConfig(n)
		if err != nil {
			return nil, fmt.Errorf("settings of node %s: %w", n.Name, err)
		}
		objects[o.layout.InstanceConfig(n.Name)] = config
	}
	return objects, nil
}

func (o *Objects) topology() (string, error) {
	t := model.Topology{Schema: model.TopologySchema, Cluster: o.spec.Name,
		VPN: model.VPN{CIDR: o.spec.VPNCIDR, Endpoint: o.inputs.VPNEndpoint(), PublicKey: o.VPNPublicKey, Routes: []string{o.inputs.VPCCIDR()}}}
	for _, n := range o.spec.SortedNodes() {
		t.Nodes = append(t.Nodes, model.TopologyNode{Name: n.Name, Role: n.Role, Address: n.Address})
	}
	out, err := json.MarshalIndent(t, "", "  ")
	return string(out) + "\n", err
}

// instanceConfig returns a node's environment: the customer's settings and the
// cluster's own variables, which take precedence.
func (o *Objects) instanceConfig(n clusterspec.Node) (string, error) {
	vars := maps.Clone(o.spec.Settings)
	if vars == nil {
		vars = map[string]string{}
	}
	maps.Copy(vars, map[string]string{
		model.EnvNode:         n.Name,
		model.EnvVPNCIDR:      o.spec.VPNCIDR,
		model.EnvPGDumpBucket: o.spec.Buckets.PGDump,
		model.EnvWALGBucket:   o.spec.Buckets.WALG,
		model.EnvLogsBucket:   o.spec.Buckets.Logs,
	})
	if n.VolumeID != "" {
		vars[model.EnvDataVolume] = n.VolumeID
	}
	for _, m := range o.spec.NodesOf(model.RoleManagement) {
		vars[model.EnvManagementAddress] = m.Address
	}
	return envfile.Format(vars)
}
