// Package sshmachine provides an SSH server on loopback that replaces the build
// instance in tests, because moto starts no machines. It accepts every user key and
// passes each command to a function.
package sshmachine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Run runs a command and returns its exit status.
type Run func(command string, in io.Reader, out, errOut io.Writer) int

// Machine is a running server.
type Machine struct {
	listener net.Listener
	hostKey  func() (ssh.Signer, error)
	run      Run
	served   sync.WaitGroup
}

// Start starts a server on a free port of loopback. It calls hostKey for each
// connection, which may fail while there is no instance.
func Start(hostKey func() (ssh.Signer, error), run Run) (*Machine, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start an SSH server: %w", err)
	}
	m := &Machine{listener: listener, hostKey: hostKey, run: run}
	m.served.Go(m.accept)
	return m, nil
}

// Port returns the server's port on 127.0.0.1.
func (m *Machine) Port() int { return m.listener.Addr().(*net.TCPAddr).Port }

// Address returns the server's host:port.
func (m *Machine) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.Port())) }

// Close stops the server.
func (m *Machine) Close() {
	_ = m.listener.Close()
}

func (m *Machine) accept() {
	for {
		conn, err := m.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go func() { _ = m.serve(conn) }()
		}
	}
}

func (m *Machine) serve(conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	key, err := m.hostKey()
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(key)
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, c.ChannelType())
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return err
		}
		go m.session(channel, requests)
	}
	return nil
}

func (m *Machine) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(false, nil)
			continue
		}
		var exec struct{ Command string }
		_ = r.Reply(ssh.Unmarshal(r.Payload, &exec) == nil, nil)
		status := m.run(exec.Command, channel, channel, channel.Stderr())
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)})) //nolint:gosec // 0 to 255
		return
	}
}
