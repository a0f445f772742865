package vpcnet

import (
	"context"
	"net"
	"os/exec"
)

// Side is a namespace of the lab that the supervisor itself can act in.
type Side string

const (
	// Router is where the addresses of the lab's own services are. What is dialled
	// from there passes no security group.
	Router Side = "router"
	// Internet is where elastic addresses are reachable and nothing private is.
	Internet Side = "internet"
)

// Network is the lab's network under one run directory.
type Network struct{}

// Open makes the router's and the internet's namespace, or takes over those that
// a dead supervisor left in dir.
func Open(dir string) (*Network, error) { return nil, nil }

// Apply makes the network equal to the model. Machines that stay the same keep
// their connections. Rules change atomically.
func (n *Network) Apply(ctx context.Context, m Model) error { return nil }

// NamespacePath is where the namespace of a machine of the model is bound.
func (n *Network) NamespacePath(machineID string) string { return "" }

// Listen listens inside a namespace. The caller serves from the host's; the
// remote address of a connection tells which machine it is from.
func (n *Network) Listen(ctx context.Context, side Side, network, address string) (net.Listener, error) {
	return nil, nil
}

// ListenPacket is [Network.Listen] for datagrams.
func (n *Network) ListenPacket(ctx context.Context, side Side, network, address string) (net.PacketConn, error) {
	return nil, nil
}

// Dial connects from inside a namespace. Address must not need a name server.
func (n *Network) Dial(ctx context.Context, side Side, network, address string) (net.Conn, error) {
	return nil, nil
}

// Command prepares a command that has the namespace as its network.
func (n *Network) Command(ctx context.Context, side Side, args ...string) *exec.Cmd { return nil }

// Remove removes every namespace that this package made in dir, also those of a
// dead supervisor. Machines must be off.
func Remove(dir string) error { return nil }
