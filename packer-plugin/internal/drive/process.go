// Package drive runs the plugin's binary over the SDK's RPC as Packer does, for tests
// and for image builds without Packer. It runs the same binary that Packer would.
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

// Process is a component of the plugin in its own process.
type Process struct {
	*rpc.Client

	cmd    *exec.Cmd
	exited chan struct{}
}

// Start starts a component. kind is builder, provisioner, datasource or
// post-processor; name is the name in HCL without the prefix, such as ebs. The
// plugin's log goes to log. The caller has to stop the process.
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
		line, _ := r.ReadString('\n') // empty after an error
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
		return nil, fmt.Errorf("plugin has not printed its address: %w", ctx.Err())
	}
	parts := strings.SplitN(strings.TrimSpace(line), "|", 4)
	if len(parts) != 4 || parts[0] != plugin.APIVersionMajor {
		return nil, fmt.Errorf("plugin printed %q instead of its address for protocol %s", line, plugin.APIVersionMajor)
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

// Stop closes the connection, which ends the plugin, and kills it if it does not
// exit.
func (p *Process) Stop() {
	_ = p.Close()
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}
