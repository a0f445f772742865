//go:build linux

package reconcile

import (
	"cmp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/xeroops/xeroops/internal/cluster"
)

// Status describes an instance for xeroops-lab status.
type Status struct {
	InstanceID    string `json:"instance_id"`
	Node          string `json:"node"` // xeroops:node, else Name
	Role          string `json:"role"`
	ImageID       string `json:"image_id"`
	Address       string `json:"address"`
	PublicAddress string `json:"public_address,omitempty"`
	State         string `json:"state"`
	// Ready is true once the machine has reached multi-user.target.
	Ready       bool   `json:"ready"`
	Boots       int    `json:"boots"`
	MemoryBytes int64  `json:"memory_bytes"`
	Namespace   string `json:"network_namespace"`
	Error       string `json:"error,omitempty"`
}

// Status returns all instances, sorted by node and id.
func (r *Reconciler) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []Status{}
	for id, i := range r.instances {
		all = append(all, i.status(r.Network.NamespacePath(id)))
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.InstanceID, b.InstanceID))
	})
	return all
}

func (i *instance) status(namespace string) Status {
	m := i.on()
	i.mu.Lock()
	s := Status{
		InstanceID: i.id, Node: cmp.Or(tag(i.wanted.Tags, cluster.TagNode), tag(i.wanted.Tags, "Name")), Role: tag(i.wanted.Tags, cluster.TagRole),
		ImageID: aws.ToString(i.wanted.ImageId), Address: i.network.Address.String(), Namespace: namespace,
	}
	if i.network.PublicAddress.IsValid() {
		s.PublicAddress = i.network.PublicAddress.String()
	}
	if i.lastErr != nil {
		s.Error = i.lastErr.Error()
	}
	moto, gone := i.wanted.State, i.gone
	i.mu.Unlock()
	switch {
	case gone:
		s.State = "shutting-down"
	case moto != nil:
		s.State = string(i.state(moto.Name))
	}
	if m == nil {
		return s
	}
	s.Boots = m.Boots()
	s.Ready = i.isUp()
	if memory, err := m.MemoryBytes(); err == nil {
		s.MemoryBytes = memory
	}
	return s
}
