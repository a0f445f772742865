package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/health"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/procfs"
	"github.com/xeroops/xeroops/node/internal/systemd"
	"github.com/xeroops/xeroops/node/internal/volume"
)

// drainFile takes the node out of traffic while it exists.
const drainFile = "/run/xeroops/drain"

// machine is the local node.
type machine struct {
	instance   instance.Instance
	instanceID string
	bootID     string
	versions   map[string]string
	services   []cluster.Service
	dataMount  string // mount point of the data volume, or ""
	log        hclog.Logger

	registered string                 // file that deployments writes
	running    []registry.Application // from the last file that could be read
	unreadable journal.Problem        // of that file
	bus        *systemd.Conn          // nil while not connected
	stopping   bool
}

func newMachine(i instance.Instance, instanceID, version string, log hclog.Logger) *machine {
	m := &machine{instance: i, instanceID: instanceID, versions: versions(version), log: log, registered: instance.RegisteredFile}
	// Discovery does not check itself: it would find its own unit starting.
	for _, s := range cluster.ServicesOf(i.Role) {
		if s.Name != "discovery" {
			m.services = append(m.services, s)
		}
	}
	m.bootID, _ = procfs.ReadBootID()
	if config, err := instance.Config(); err == nil && config[cluster.EnvDataVolume] != "" {
		m.dataMount = volume.Of(i.Role, config[cluster.EnvDataVolume]).Where
	}
	return m
}

// entry implements node.
func (m *machine) entry(ctx context.Context) registry.Node {
	n := registry.Node{Schema: registry.Schema, Name: m.instance.Node, Role: m.instance.Role, Address: m.instance.Address,
		InstanceID: m.instanceID, BootID: m.bootID, State: registry.NodeReady, Versions: m.versions}
	n.Services = health.Check(ctx, m.services)
	if slices.ContainsFunc(n.Services, func(s registry.ServiceHealth) bool { return !s.Healthy }) {
		n.State = registry.NodeDegraded
	}
	if m.stopping || exists(drainFile) {
		n.State = registry.NodeDraining
	}
	n.Applications = m.applications()
	n.Resources = resources(m.dataMount)
	if m.connect(ctx) == nil {
		n.Resources.FailedUnits, _ = m.bus.FailedUnits(ctx)
	}
	return n
}

// applications returns the applications that deployments has listed, none if there is no
// such file. If the file cannot be read, the last ones stay in traffic.
func (m *machine) applications() []registry.Application {
	var all []registry.Application
	text, err := os.ReadFile(m.registered)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.unreadable.Set(m.log, "list of applications unreadable, publishing the last one", fmt.Errorf("read %s: %w", m.registered, err))
		return m.running
	}
	m.unreadable.Set(m.log, "list of applications unreadable, publishing the last one", nil)
	m.running = all
	return all
}

// fingerprint implements node.
func (m *machine) fingerprint(ctx context.Context) string {
	var b strings.Builder
	text, err := os.ReadFile(m.registered)
	fmt.Fprintln(&b, string(text), err, exists(drainFile))
	if err := m.connect(ctx); err != nil {
		fmt.Fprintln(&b, err)
		return b.String()
	}
	var names []string
	for _, s := range m.services {
		names = append(names, s.Unit)
	}
	units, err := m.bus.Units(ctx, names)
	if err != nil {
		m.disconnect()
		fmt.Fprintln(&b, err)
	}
	for _, name := range names {
		fmt.Fprintln(&b, name, units[name].Active, units[name].Sub)
	}
	return b.String()
}

// isStopping reports whether the machine is shutting down.
func (m *machine) isStopping(ctx context.Context) bool {
	if m.connect(ctx) != nil {
		return false
	}
	stopping, err := m.bus.IsStopping(ctx)
	m.stopping = err == nil && stopping
	return m.stopping
}

func (m *machine) connect(ctx context.Context) error {
	if m.bus != nil {
		return nil
	}
	// The connection outlives the context of this check.
	bus, err := systemd.Connect(context.WithoutCancel(ctx))
	if err == nil {
		m.bus = bus
	}
	return err
}

func (m *machine) disconnect() {
	if m.bus != nil {
		m.bus.Close()
	}
	m.bus = nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
