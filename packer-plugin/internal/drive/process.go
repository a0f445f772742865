// Package drive runs the plugin's binary out of process over the SDK's RPC, as
// Packer does, where there is no Packer: tests and the lab's image builds use
// it. What it runs is the very binary that Packer would install.
package drive

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/plugin"
	"github.com/hashicorp/packer-plugin-sdk/rpc"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 3 * time.Second
)

// Process is one component of the plugin in a process of its own.
type Process struct {
	*rpc.Client

	cmd    *exec.Cmd
	exited chan struct{}
}

// Start starts a component: kind is builder, provisioner, datasource or
// post-processor, name is HCL's without the plugin's ("ebs" of xeroops-ebs).
// The plugin's log goes to log. The caller stops the process.
func Start(ctx context.Context, binary, kind, name string, log io.Writer) (*Process, error) {
	cmd := exec.Command(binary, "start", kind, name, "--protobuf")
	cmd.Env = append(os.Environ(), plugin.MagicCookieKey+"="+plugin.MagicCookieValue, "PACKER_PLUGIN_MIN_PORT=10000", "PACKER_PLUGIN_MAX_PORT=25000")
	cmd.Stderr = log
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s %s %s: %w", binary, kind, name, err)
	}
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	address := make(chan string, 1)
	go func() {
		r := bufio.NewReader(output)
		line, _ := r.ReadString('\n') // an empty one tells that there is none
		address <- line
		_, _ = io.Copy(io.Discard, r)
		_ = cmd.Wait()
		close(p.exited)
	}()
	if p.Client, err = connect(ctx, address); err != nil {
		_ = cmd.Process.Kill()
		<-p.exited
		return nil, fmt.Errorf("start %s %s %s: %w", binary, kind, name, err)
	}
	return p, nil
}

// connect reads the plugin's first line, 5|0|unix|SOCKET, and dials it.
func connect(ctx context.Context, address <-chan string) (*rpc.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var line string
	select {
	case line = <-address:
	case <-ctx.Done():
		return nil, fmt.Errorf("it did not say where it listens: %w", ctx.Err())
	}
	parts := strings.SplitN(strings.TrimSpace(line), "|", 4)
	if len(parts) != 4 || parts[0] != plugin.APIVersionMajor {
		return nil, fmt.Errorf("it said %q, and not where it listens with protocol %s", line, plugin.APIVersionMajor)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, parts[2], parts[3])
	if err != nil {
		return nil, err
	}
	client, err := rpc.NewClient(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	client.UseProto = true
	return client, nil
}

// Stop closes the connection, upon which a plugin ends, and kills one that
// does not.
func (p *Process) Stop() {
	_ = p.Close()
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}
