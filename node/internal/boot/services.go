package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/configure"
	"github.com/xeroops/xeroops/node/internal/systemd"
	"github.com/xeroops/xeroops/node/internal/volume"
	"github.com/xeroops/xeroops/templates"
)

// unitSet are names of units.
type unitSet map[string]bool

// configure renders the role's templates and remembers whose configuration is
// another than before.
func (b *Boot) configure(context.Context) error {
	memory, err := memoryMiB()
	if err != nil {
		return err
	}
	files, err := configure.Render(templates.Files, configure.Data{
		Node: b.Instance.Node, Role: string(b.Instance.Role), Cluster: b.Instance.Cluster, Region: b.Instance.Region, Address: b.Instance.Address,
		Topology: b.topology, Config: b.config, Credentials: b.credentials, CPUs: runtime.NumCPU(), MemoryMiB: memory})
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
		if file.IsAsWanted() {
			continue
		}
		// First: a boot that ends in between owes it to them.
		if err := b.note(f.Units); err != nil {
			return err
		}
		b.stale = b.stale || strings.Contains(f.Path, "/systemd/system/")
		if _, err := atomicfile.Write(file); err != nil {
			return err
		}
		b.Log.Info("configuration changed", "file", f.Path)
	}
	return nil
}

// readChanged takes over what a boot before, of the same machine's boot, had yet to
// tell units.
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

// note remembers units to refresh; nil is all of the role.
func (b *Boot) note(units []string) error {
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

// units are those that boot starts, in the order of the table.
func (b *Boot) units() []string {
	var names []string
	for _, s := range cluster.ServicesOf(b.Instance.Role) {
		names = append(names, s.Unit)
	}
	return names
}

// memoryMiB is the machine's memory, see proc_meminfo(5).
func memoryMiB() (int, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" {
			kib, err := strconv.Atoi(fields[1])
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no MemTotal")
}

// mount brings the data volume into place, where the node has one.
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

// attachedEvery is how often a device is looked for, which costs nothing.
const attachedEvery = 200 * time.Millisecond

// awaitAttached waits for the volume's device: whoever launched the instance
// attaches it once that runs, or once the node before has let go of it.
func (b *Boot) awaitAttached(ctx context.Context, v volume.Volume) error {
	for {
		_, err := v.Device()
		if !errors.Is(err, volume.ErrNotAttached) {
			return err
		}
		b.status.trouble(ctx, err.Error())
		if !backoff.Sleep(ctx, attachedEvery) {
			return err
		}
	}
}

// target wants all units of the role, so that they start in one transaction,
// in which systemd keeps their order.
const target = "xeroops-services.target"

// start refreshes what runs already with another configuration, and has
// systemd start all that does not run.
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
	if err := b.refresh(ctx, conn); err != nil { // the others are started, and follow tries again
		b.Log.Warn("not every service has its configuration", "error", err)
	}
	return conn.Queue(ctx, target)
}

// writeTarget makes the target. systemd finds a new unit by itself.
func (b *Boot) writeTarget() error {
	text := "# Written by xeroops-node boot.\n[Unit]\nDescription=The services of role " + string(b.Instance.Role) + "\n"
	for _, u := range b.units() {
		text += "Wants=" + u + "\n"
	}
	path := filepath.Join(b.Files.Units, target)
	_, none := os.Stat(path)
	changed, err := atomicfile.WriteFile(path, []byte(text), 0o644)
	b.stale = b.stale || (changed && none == nil)
	return err
}

// follow renders the configuration anew if discovery has brought another
// topology, and tells the services that it concerns, or that could not be told.
func (b *Boot) follow(ctx context.Context) error {
	t, err := b.Files.Topology.Read()
	if err != nil || (reflect.DeepEqual(t, b.topology) && len(b.changed) == 0) {
		return err
	}
	b.Log.Info("configuring again", "nodes", len(t.Nodes), "units_to_tell", len(b.changed))
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	conn, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	before := b.topology
	b.topology = t
	if err = b.configure(ctx); err == nil {
		err = b.reload(ctx, conn)
	}
	if err == nil {
		err = b.refresh(ctx, conn)
	}
	if err != nil {
		b.topology = before // so that it is tried again
	}
	return err
}

// reload has systemd read unit files that changed, which takes a second on a busy
// machine.
func (b *Boot) reload(ctx context.Context, conn *systemd.Conn) error {
	if !b.stale {
		return nil
	}
	err := conn.Reload(ctx)
	b.stale = err != nil
	return err
}

// refreshTimeout is how long a unit may take to be refreshed; the others wait.
const refreshTimeout = 2 * time.Minute

// refresh tells those that run already that their configuration changed. Who could
// not be told is told the next time.
func (b *Boot) refresh(ctx context.Context, conn *systemd.Conn) error {
	units, err := conn.Units(ctx, slices.Sorted(maps.Keys(b.changed)))
	if err != nil {
		return err
	}
	var errs error
	for name, u := range units {
		if u.IsUp() {
			b.Log.Info("its configuration changed", "unit", name)
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
