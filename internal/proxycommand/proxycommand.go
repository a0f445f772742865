// Package proxycommand makes connections to the registry out of a command's standard
// input and output, as ssh's ProxyCommand does, for whoever has no route to it.
package proxycommand

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"sync"

	"github.com/xeroops/xeroops/internal/registry"
)

// Dialer runs the command for each connection: %h in it is the host, %p the port, %% a
// percent sign. Of no command it is nil, which is TCP.
func Dialer(command string) registry.Dialer {
	if command == "" {
		return nil
	}
	return func(_ context.Context, _, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		line := strings.NewReplacer("%%", "%", "%h", host, "%p", port).Replace(command)
		shell := []string{"sh", "-c", "exec " + line}
		if runtime.GOOS == "windows" {
			shell = []string{"cmd", "/c", line}
		}
		// Not bound to the dial's context: the connection outlives it.
		return start(exec.Command(shell[0], shell[1:]...))
	}
}

// start runs a command whose other end is the connection. A pipe of net.Pipe
// has deadlines on every system, which a process's pipes have not.
func start(cmd *exec.Cmd) (net.Conn, error) {
	ours, its := net.Pipe()
	said := &tail{}
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	ownProcessGroup(cmd) // Ctrl-C is for this program, which ends it by closing the connection
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run %q: %w", cmd.Args, err)
	}
	conn := &connection{Conn: ours, said: said}
	go func() {
		_, _ = io.Copy(in, its) // its end is the connection's
		_ = in.Close()
	}()
	go func() {
		_, _ = io.Copy(its, out)
		_ = out.Close() // a command that goes on writing is told so
		conn.end(cmd.Wait())
		_ = its.Close()
	}()
	return conn, nil
}

type connection struct {
	net.Conn
	said *tail

	mutex sync.Mutex
	ended error
}

// end notes how the command ended, with what it said on standard error.
func (c *connection) end(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.ended = io.EOF; err != nil {
		// Of a new connection's error go-redis keeps only what it wraps.
		c.ended = fmt.Errorf("the command ended (%v): %s", err, c.said) //nolint:errorlint // hence
	}
}

// Read is the connection's, with the command's own error in place of its end.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF { //nolint:errorlint // net.Pipe's own, never wrapped
		c.mutex.Lock()
		defer c.mutex.Unlock()
		if c.ended != nil {
			err = c.ended
		}
	}
	return n, err
}

// tail keeps the last that was written to it.
type tail struct {
	mutex   sync.Mutex
	content []byte
}

const tailBytes = 2000

func (t *tail) Write(b []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.content = append(t.content, b...)
	t.content = t.content[max(0, len(t.content)-tailBytes):]
	return len(b), nil
}

// String returns what is kept, in one line.
func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return string(bytes.Join(bytes.Fields(t.content), []byte(" ")))
}
