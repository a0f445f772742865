package deployments

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/node/internal/systemd"
	"github.com/xeroops/xeroops/templates"
)

// processes simulates systemd: it reads the units that the generator wrote, holds their
// sockets and runs their programs.
type processes struct {
	t     testing.TB
	root  string // of the store
	units string // where the generator writes
	serve string // copy of the image's serve.py

	mu      sync.Mutex
	running map[string]*process
	sockets map[string]*os.File // by socket unit
	output  map[string]*output  // by service unit
}

type process struct {
	cmd         *exec.Cmd
	done        chan struct{}
	stopTimeout time.Duration
}

type output struct {
	mu sync.Mutex
	bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Buffer.String()
}

func newProcesses(t testing.TB, root string) *processes {
	serve, err := templates.Files.ReadFile("services/applications/files/usr/lib/xeroops/serve.py")
	check(t, err)
	copied := filepath.Join(t.TempDir(), "serve.py")
	check(t, os.WriteFile(copied, serve, 0o644))
	p := &processes{t: t, root: root, units: filepath.Join(t.TempDir(), "units"), serve: copied, running: map[string]*process{}, sockets: map[string]*os.File{}, output: map[string]*output{}}
	t.Cleanup(func() {
		for unit := range p.running {
			_ = p.Stop(context.Background(), unit, true)
		}
		for _, s := range p.sockets {
			_ = s.Close()
		}
	})
	return p
}

func (p *processes) Reload(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := os.RemoveAll(p.units); err != nil {
		return err
	}
	return writeUnits(p.root, p.units)
}

func (p *processes) Start(_ context.Context, unit string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[unit] != nil {
		return nil
	}
	if strings.HasSuffix(unit, ".socket") {
		return p.listen(unit)
	}
	content, err := os.ReadFile(filepath.Join(p.units, unit+".d", "50-version.conf"))
	if err != nil {
		return err
	}
	stopSeconds, err := strconv.Atoi(setting(content, "TimeoutStopSec"))
	if err != nil {
		return err
	}
	command := strings.Fields(strings.NewReplacer("${"+cluster.EnvManagementAddress+"}", "127.0.0.1",
		"/usr/lib/xeroops/serve.py", p.serve).Replace(setting(content, "ExecStart")))
	cmd := debiantree.CommandIn(p.t, setting(content, "WorkingDirectory"), command[0], command[1:]...)
	cmd.Env = append(cmd.Env, "PYTHONDONTWRITEBYTECODE=1")
	if strings.Contains(string(content), cluster.EnvTrial+"=1") {
		cmd.Env = append(cmd.Env, cluster.EnvTrial+"=1")
	}
	if socket := setting(content, "Sockets"); socket != "" {
		if err := p.listen(socket); err != nil {
			return err
		}
		cmd.ExtraFiles = []*os.File{p.sockets[socket]}
	}
	p.output[unit] = new(output)
	cmd.Stdout, cmd.Stderr = p.output[unit], p.output[unit]
	if err := cmd.Start(); err != nil {
		return err
	}
	child := &process{cmd, make(chan struct{}), time.Duration(stopSeconds) * time.Second}
	p.running[unit] = child
	go func() {
		_ = cmd.Wait()
		p.mu.Lock()
		delete(p.running, unit)
		p.mu.Unlock()
		close(child.done)
	}()
	return nil
}

func (p *processes) listen(socket string) error {
	if p.sockets[socket] != nil {
		return nil
	}
	var port int
	if _, err := fmt.Sscanf(socket, "xeroops-application@%d.socket", &port); err != nil {
		return err
	}
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer l.Close()
	p.sockets[socket], err = l.(*net.TCPListener).File()
	return err
}

func setting(unit []byte, name string) string {
	m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindSubmatch(unit)
	if m == nil {
		return ""
	}
	return string(m[1])
}

func (p *processes) Stop(_ context.Context, unit string, wait bool) error {
	p.mu.Lock()
	child := p.running[unit]
	if s := p.sockets[unit]; s != nil { // processes that inherited it keep it
		_ = s.Close()
		delete(p.sockets, unit)
	}
	p.mu.Unlock()
	if child == nil {
		return nil
	}
	_ = child.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(child.stopTimeout, func() { _ = child.cmd.Process.Kill() })
	if wait {
		<-child.done
		timer.Stop()
	}
	return nil
}

func (p *processes) States(_ context.Context, pattern string) (map[string]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, after, _ := strings.Cut(pattern, "*")
	states := map[string]string{}
	for _, unit := range slices.Concat(slices.Collect(maps.Keys(p.running)), slices.Collect(maps.Keys(p.sockets))) {
		if unit == pattern || pattern != before && strings.HasPrefix(unit, before) && strings.HasSuffix(unit, after) {
			states[unit] = systemd.Active
		}
	}
	return states, nil
}

func (p *processes) Log(_ context.Context, unit string, _ time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if output := p.output[unit]; output != nil {
		return lastLines(output.String(), maxLogLines)
	}
	return ""
}
