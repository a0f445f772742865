// Package proxycommand connects to the registry through a command's standard input
// and output, like ssh's ProxyCommand, for clients without a route to it.
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
// percent sign. Without a command it returns nil, which stands for TCP.
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

// start runs a command and returns a connection to its standard input and output. It
// uses net.Pipe, which has deadlines on every system; a process's pipes have none.
func start(cmd *exec.Cmd) (net.Conn, error) {
	ours, theirs := net.Pipe()
	stderr := &tail{}
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	ownProcessGroup(cmd) // Ctrl-C must reach only this program, which ends the command by closing the connection
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run %q: %w", cmd.Args, err)
	}
	conn := &connection{Conn: ours, stderr: stderr}
	go func() {
		_, _ = io.Copy(in, theirs) // ends with the connection
		_ = in.Close()
	}()
	go func() {
		_, _ = io.Copy(theirs, out)
		_ = out.Close() // a command that keeps writing gets SIGPIPE
		conn.end(cmd.Wait())
		_ = theirs.Close()
	}()
	return conn, nil
}

type connection struct {
	net.Conn
	stderr *tail

	mutex sync.Mutex
	ended error
}

// end records how the command ended, with the end of its standard error.
func (c *connection) end(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.ended = io.EOF; err != nil {
		// go-redis drops the text of a new connection's error and keeps only wrapped errors.
		c.ended = fmt.Errorf("the command ended (%v): %s", err, c.stderr) //nolint:errorlint // hence %v
	}
}

// Read reads from the connection. At its end, it returns the command's error.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain(err)
}

// Write writes to the connection. If the command has ended, it returns its error: a
// command may end before the first byte is written.
func (c *connection) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

// explain returns how the command ended in place of the pipe's error.
func (c *connection) explain(err error) error {
	if err != io.EOF && err != io.ErrClosedPipe { //nolint:errorlint // net.Pipe's own, never wrapped
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.ended != nil && c.ended != io.EOF { //nolint:errorlint // set by end
		return c.ended
	}
	return err
}

// tail keeps the last bytes that were written to it.
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

// String returns the kept bytes in one line.
func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return string(bytes.Join(bytes.Fields(t.content), []byte(" ")))
}
