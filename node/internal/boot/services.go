package boot

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/configure"
	"github.com/xeroops/xeroops/node/internal/procfs"
	"github.com/xeroops/xeroops/node/internal/systemd"
	"github.com/xeroops/xeroops/node/internal/volume"
	"github.com/xeroops/xeroops/templates"
)

// unitSet is a set of unit names.
type unitSet map[string]bool

// configure writes the configuration of the role's services, and records which units it
// changes.
func (b *Boot) configure(context.Context) error {
	memory, err := procfs.ReadMemory()
	if err != nil {
		return err
	}
	files, err := configure.Render(templates.Files, configure.Data{
		Node: b.Instance.Node, Role: string(b.Instance.Role), Cluster: b.Instance.Cluster, Region: b.Instance.Region, Address: b.Instance.Address,
		Topology: b.topology, Config: b.config, Credentials: b.credentials, TLS: b.tls, CPUs: runtime.NumCPU(), MemoryMiB: int(memory.Total >> 20)})
	if err != nil {
		return err
	}
	if err := b.readChanged(); err != nil {
		return err
	}
	for _, f := range files {
		file, err := f.InPlace()
		if err != nil {
			return err
		}
		if file.IsUpToDate() {
			continue
		}
		// Recorded first, so that an interruption does not lose it.
		if err := b.addChanged(f.Units); err != nil {
			return err
		}
		b.stale = b.stale || strings.Contains(f.Path, "/systemd/system/")
		if _, err := atomicfile.Write(file); err != nil {
			return err
		}
		b.Log.Info("configuration file written", "file", f.Path)
	}
	b.renewed = false
	return nil
}

// readChanged reads the units that an earlier run since the machine booted has not
// refreshed.
func (b *Boot) readChanged() error {
	if b.changed != nil {
		return nil
	}
	text, err := os.ReadFile(b.Files.Changed)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b.changed = unitSet{}
	for _, u := range strings.Fields(string(text)) {
		b.changed[u], b.stale = true, true
	}
	return nil
}

// addChanged records units to refresh; nil stands for all of the role.
func (b *Boot) addChanged(units []string) error {
	if units == nil {
		units = b.units()
	}
	for _, u := range units {
		b.changed[u] = true
	}
	return b.writeChanged()
}

func (b *Boot) writeChanged() error {
	_, err := atomicfile.WriteFile(b.Files.Changed, []byte(strings.Join(slices.Sorted(maps.Keys(b.changed)), "\n")), 0o644)
	return err
}

// units returns the role's units in the order of the service table.
func (b *Boot) units() []string {
	var names []string
	for _, s := range cluster.ServicesOf(b.Instance.Role) {
		names = append(names, s.Unit)
	}
	return names
}

// mount mounts the data volume, if the node has one.
func (b *Boot) mount(ctx context.Context) error {
	id := b.config[cluster.EnvDataVolume]
	if id == "" {
		return nil
	}
	v := volume.Of(b.Instance.Role, id)
	if err := b.awaitAttached(ctx, v); err != nil {
		return err
	}
	conn, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	b.volume = &v
	return v.Mount(ctx, conn)
}

// attachPollInterval is how often a missing device is looked up, which costs nothing.
const attachPollInterval = 200 * time.Millisecond

// awaitAttached waits for the volume's device. The provider attaches the volume once the
// instance is running and the volume's former instance has released it.
func (b *Boot) awaitAttached(ctx context.Context, v volume.Volume) error {
	for {
		_, err := v.Device()
		if !errors.Is(err, volume.ErrNotAttached) {
			return err
		}
		b.status.setError(ctx, err.Error())
		if !backoff.Sleep(ctx, attachPollInterval) {
			return err
		}
	}
}

// target wants all units of the role, so that systemd starts them in one transaction and
// honours their order.
const target = "xeroops-services.target"

// start refreshes running units whose configuration changed, and enqueues the start of
// all others.
func (b *Boot) start(ctx context.Context) error {
	conn, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := b.writeTarget(); err != nil {
		return err
	}
	if err := b.reload(ctx, conn); err != nil {
		return err
	}
	if err := b.refresh(ctx, conn); err != nil { // watch retries
		b.Log.Warn("refreshing units failed, retrying", "error", err)
	}
	return conn.Queue(ctx, target)
}

// writeTarget writes the target. systemd needs no reload to find a new unit.
func (b *Boot) writeTarget() error {
	text := "# Written by xeroops-node boot.\n[Unit]\nDescription=The services of role " + string(b.Instance.Role) + "\n"
	for _, u := range b.units() {
		text += "Wants=" + u + "\n"
	}
	path := filepath.Join(b.Files.Units, target)
	_, missing := os.Stat(path)
	changed, err := atomicfile.WriteFile(path, []byte(text), 0o644)
	b.stale = b.stale || (changed && missing == nil)
	return err
}

// applyChanges writes the configuration of a topology that discovery has changed and of
// renewed certificates, and refreshes the units that it concerns or that could not be
// refreshed before.
func (b *Boot) applyChanges(ctx context.Context) error {
	t, err := b.Files.Topology.Read()
	if err != nil || (reflect.DeepEqual(t, b.topology) && !b.renewed && len(b.changed) == 0) {
		return err
	}
	b.Log.Info("applying changes", "nodes", len(t.Nodes), "certificates_renewed", b.renewed, "pending_units", len(b.changed))
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	conn, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	former := b.topology
	b.topology = t
	if err = b.configure(ctx); err == nil {
		err = b.reload(ctx, conn)
	}
	if err == nil {
		err = b.refresh(ctx, conn)
	}
	if err != nil {
		b.topology = former // so that the next call retries
	}
	return err
}

// reload makes systemd read changed unit files, which takes a second on a busy machine.
func (b *Boot) reload(ctx context.Context, conn *systemd.Conn) error {
	if !b.stale {
		return nil
	}
	err := conn.Reload(ctx)
	b.stale = err != nil
	return err
}

// refreshTimeout limits the refresh of one unit, for which the others wait.
const refreshTimeout = 2 * time.Minute

// refresh makes running units read their changed configuration. Units for which that
// fails stay recorded for the next call.
func (b *Boot) refresh(ctx context.Context, conn *systemd.Conn) error {
	units, err := conn.Units(ctx, slices.Sorted(maps.Keys(b.changed)))
	if err != nil {
		return err
	}
	var errs error
	for name, u := range units {
		if u.IsUp() {
			b.Log.Info("refreshing unit", "unit", name)
			ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
			err := conn.Refresh(ctx, name)
			cancel()
			if err != nil {
				errs = errors.Join(errs, err)
				continue
			}
		}
		delete(b.changed, name)
	}
	return errors.Join(errs, b.writeChanged())
}
