//go:build linux

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 5 * time.Second
	// idleTimeout ends an idle UDP flow. WireGuard's keepalive interval is 25 s.
	idleTimeout = 3 * time.Minute
	maxDatagram = 65535
)

// Forward makes a port of a role's public address reachable on the host's loopback
// until the lab ends. The address is looked up anew for each connection.
type Forward struct {
	Network string       `json:"network"`            // tcp or udp
	Listen  string       `json:"listen"`             // address on the host
	AnyPort bool         `json:"any_port,omitempty"` // use a free port if the one of Listen is taken
	Role    cluster.Role `json:"role"`
	Port    uint16       `json:"port"`
}

// target identifies what a forward leads to.
type target struct {
	network string
	role    cluster.Role
	port    uint16
}

// forward starts a forward and returns the address that it listens on. A forward to
// the same target keeps its address, unless another one is demanded.
func (s *Supervisor) forward(f Forward) (address string, err error) {
	if _, err := s.publicAddress(f); err != nil {
		return "", err
	}
	s.forwarding.Lock()
	defer s.forwarding.Unlock()
	t := target{f.Network, f.Role, f.Port}
	if address := s.forwards[t]; address != "" && (f.AnyPort || address == f.Listen) {
		return address, nil
	}
	address, err = s.listenToForward(f)
	if errors.Is(err, unix.EADDRINUSE) && f.AnyPort {
		host, _, _ := net.SplitHostPort(f.Listen) // it was parsed before
		f.Listen = net.JoinHostPort(host, "0")
		address, err = s.listenToForward(f)
	}
	if err != nil {
		return "", fmt.Errorf("forward to %s: %w", f.Role, err)
	}
	s.forwards[t] = address
	return address, nil
}

func (s *Supervisor) listenToForward(f Forward) (address string, err error) {
	if f.Network == "udp" {
		c, err := net.ListenPacket("udp4", f.Listen)
		if err != nil {
			return "", err
		}
		s.closeLater(c)
		go s.forwardDatagrams(f, c)
		return c.LocalAddr().String(), nil
	}
	l, err := net.Listen("tcp4", f.Listen)
	if err != nil {
		return "", err
	}
	s.closeLater(l)
	go s.forwardConnections(f, l)
	return l.Addr().String(), nil
}

// publicAddress returns the public address of the role's node, with the port.
func (s *Supervisor) publicAddress(f Forward) (string, error) {
	for _, i := range s.reconciler.Status() {
		if i.Role != string(f.Role) || i.PublicAddress == "" {
			continue
		}
		address, err := netip.ParseAddr(i.PublicAddress)
		if err != nil {
			return "", err
		}
		return netip.AddrPortFrom(address, f.Port).String(), nil
	}
	return "", fmt.Errorf("forward: no instance with the role %s has a public address", f.Role)
}

func (s *Supervisor) dial(f Forward) (net.Conn, error) {
	target, err := s.publicAddress(f)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return s.network.Dial(ctx, vpcnet.Internet, f.Network, target)
}

func (s *Supervisor) forwardConnections(f Forward, l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer client.Close()
			server, err := s.dial(f)
			if err != nil {
				s.log.Warn("forward failed", "role", f.Role, "port", f.Port, "error", err)
				return
			}
			defer server.Close()
			join(client, server)
		}()
	}
}

// join copies in both directions, passing on each side's end of stream, until both
// have ended.
func join(a, b net.Conn) {
	done := make(chan struct{})
	one := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // either side may close at any time
		if tcp, ok := to.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}
	go func() { one(a, b); close(done) }()
	one(b, a)
	<-done
}

// forwardDatagrams keeps one socket on the internet side per client, so that replies
// can be returned to it.
func (s *Supervisor) forwardDatagrams(f Forward, c net.PacketConn) {
	flows := map[string]net.Conn{}
	buffer := make([]byte, maxDatagram)
	for {
		n, client, err := c.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		server := flows[client.String()]
		if server != nil {
			if _, err := server.Write(buffer[:n]); !errors.Is(err, net.ErrClosed) {
				continue
			}
		}
		if server, err = s.dial(f); err != nil {
			s.log.Warn("forward failed", "role", f.Role, "port", f.Port, "error", err)
			continue
		}
		flows[client.String()] = server
		_, _ = server.Write(buffer[:n]) // datagrams may be lost
		go answerDatagrams(c, client, server)
	}
}

// answerDatagrams returns the server's datagrams to the client until the flow is idle.
func answerDatagrams(c net.PacketConn, client net.Addr, server net.Conn) {
	defer server.Close()
	buffer := make([]byte, maxDatagram)
	for {
		if err := server.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
			return
		}
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if _, err := c.WriteTo(buffer[:n], client); err != nil {
			return
		}
	}
}
