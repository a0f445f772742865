package cluster

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	model "github.com/xeroops/xeroops/internal/cluster"
)

// gatewayInterface returns the network interface of the gateway's instance; see
// vpnroute.Inputs.
func (op *operation) gatewayInterface() (id string, exists bool) {
	for _, n := range op.spec.NodesOf(model.RoleWireGuard) {
		i, exists := op.actual.live[n.Name]
		return i.interfaceID(), exists
	}
	return "", false
}

// vpnEndpoint returns the gateway's address and port, or "" without a gateway
// that has an Elastic IP.
func (op *operation) vpnEndpoint() string {
	for _, n := range op.spec.NodesOf(model.RoleWireGuard) {
		for _, a := range op.actual.addresses {
			if aws.ToString(a.AllocationId) == n.EIPID && n.EIPID != "" {
				return fmt.Sprintf("%s:%d", aws.ToString(a.PublicIp), wireGuardPort())
			}
		}
	}
	return ""
}

func wireGuardPort() int32 {
	for _, s := range model.ServicesOf(model.RoleWireGuard) {
		for _, p := range s.Ports {
			if p.Protocol == "udp" {
				return p.Port
			}
		}
	}
	panic("service-ports.json has no UDP port for the role wireguard")
}
