package deployments

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
)

// deployer brings releases up on this node. At every moment of a deployment the
// version before serves, until the new one does; whatever fails, or if the
// process is killed, it goes on serving.
type deployer struct {
	store      store
	fetch      fetcher
	python     python
	supervisor supervisor
	offered    registry.Python // what the image has
	host       string          // where applications are asked for their health
	log        hclog.Logger

	installing sync.RWMutex // read-locked while wheels lie there that no version has yet
	claims     claims
}

// claims are the ports that deployments under way are to serve on, with the
// applications that they are of.
type claims struct {
	mu    sync.Mutex
	ports map[int]string
}

// report says how far a deployment is.
type report func(registry.Phase)

// deploy makes a release the one that serves. An error that is [errWrong] needs
// another release; any other may pass by itself.
func (d *deployer) deploy(ctx context.Context, r release, report report) error {
	report(registry.PhaseDownloading)
	v, err := d.store.installed(r.Application, r.Version)
	if err != nil || !v.is(r) {
		if v, err = d.install(ctx, r, report); err != nil {
			return err
		}
		if err := d.supervisor.Reload(ctx); err != nil { // which makes its units
			return errors.Join(err, d.store.remove(r.Application, r.Version)) // the next try is to reload, too
		}
	}
	if err := d.claim(ctx, v.Manifest); err != nil {
		return err
	}
	defer d.unclaim(v.Manifest)
	report(registry.PhaseTrying)
	if err := d.try(ctx, v); err != nil {
		return d.discard(v, err)
	}
	report(registry.PhaseSwitching)
	if err := d.switchTo(ctx, v); err != nil {
		return d.discard(v, err)
	}
	return nil
}

// install makes the environment of a release, or leaves nothing of it.
func (d *deployer) install(ctx context.Context, r release, report report) (installed, error) {
	if current, ok := d.store.current(r.Application); ok && current.Version == r.Version {
		return installed{}, wrong("version %s serves already with other content (%s); publish this under another version", r.Version, current.SHA256)
	}
	m, content, err := d.fetch.manifest(ctx, r)
	if err != nil {
		return installed{}, err
	}
	if err := d.fits(m); err != nil {
		return installed{}, err
	}
	if err := d.hasRoom(wheelBytes(m), "the wheels take"); err != nil {
		return installed{}, err
	}
	d.installing.RLock()
	if err := d.fetch.wheels(ctx, m); err != nil {
		d.installing.RUnlock()
		return installed{}, err
	}
	report(registry.PhaseInstalling)
	err = d.makeEnvironment(ctx, m, content)
	d.installing.RUnlock()
	if err != nil {
		return installed{}, errors.Join(err, d.store.remove(r.Application, r.Version), d.pruneWheels())
	}
	return installed{m, r.SHA256}, nil
}

// pruneWheels removes wheels that no version has, unless they may be those of one
// that is being made: applications are deployed side by side, and whoever ends last
// prunes.
func (d *deployer) pruneWheels() error {
	if !d.installing.TryLock() {
		return nil
	}
	defer d.installing.Unlock()
	return d.store.pruneWheels()
}

func (d *deployer) makeEnvironment(ctx context.Context, m bundle.Manifest, content []byte) error {
	need, err := unpackedBytes(m, d.store)
	if err != nil {
		return err
	}
	if err := d.hasRoom(need, "the environment takes"); err != nil {
		return err
	}
	if err := d.store.remove(m.Application, m.Version); err != nil { // other content that didn't serve
		return fmt.Errorf("make room for %s: %w", m.Version, err)
	}
	folder := d.store.environment(m.Application, m.Version)
	if err := d.python.install(ctx, folder, m, d.store); err != nil {
		if room := d.hasRoom(0, "the environment takes"); room != nil || ctx.Err() != nil {
			return errors.Join(err, room)
		}
		return wrong("%w", err)
	}
	return d.store.complete(m.Application, m.Version, content)
}

// fits refuses a bundle that this node can't run.
func (d *deployer) fits(m bundle.Manifest) error {
	if m.Python != d.offered.Version {
		return wrong("the bundle is for Python %s, and the image has %s; build the bundle anew", m.Python, d.offered.Version)
	}
	return d.portIsFree(m)
}

func (d *deployer) portIsFree(m bundle.Manifest) error {
	applications, err := d.store.applications()
	if err != nil {
		return err
	}
	for _, a := range applications {
		if other, ok := d.store.current(a); ok && a != m.Application && other.Port == m.Port {
			return wrong("port %d is %s's; choose another in [tool.xeroops]", m.Port, a)
		}
	}
	return nil
}

// claim keeps a version's port for it until [deployer.unclaim]. A version that lay
// on the disk may have lost it to another application since, and two that share a
// socket would get each other's requests.
func (d *deployer) claim(ctx context.Context, m bundle.Manifest) error {
	d.claims.mu.Lock()
	defer d.claims.mu.Unlock()
	if by, claimed := d.claims.ports[m.Port]; claimed {
		return fmt.Errorf("port %d is to be %s's, which is being deployed; choose another in [tool.xeroops]", m.Port, by)
	}
	if err := d.portIsFree(m); err != nil {
		return err
	}
	if err := d.portIsLeft(ctx, m.Application, m.Port); err != nil {
		return err
	}
	if d.claims.ports == nil {
		d.claims.ports = map[int]string{}
	}
	d.claims.ports[m.Port] = m.Application
	return nil
}

func (d *deployer) unclaim(m bundle.Manifest) {
	d.claims.mu.Lock()
	defer d.claims.mu.Unlock()
	delete(d.claims.ports, m.Port)
}

func wheelBytes(m bundle.Manifest) (sum uint64) {
	for _, w := range m.Wheels {
		sum += min(uint64(w.Size), maxBytes)
	}
	return sum
}

// hasRoom is an error that may pass if the disk is too full for so many bytes more.
func (d *deployer) hasRoom(need uint64, what string) error {
	free, err := d.store.freeBytes()
	if err != nil {
		return err
	}
	if free < need+spareBytes {
		return fmt.Errorf("disk: %s %d MiB and %d MiB have to stay free, but %s has only %d MiB; remove something, or give the node a larger root volume",
			what, need>>20, spareBytes>>20, d.store.root, free>>20)
	}
	return nil
}

// try runs a version once on a loopback port, beside the one that serves.
func (d *deployer) try(ctx context.Context, v installed) error {
	name, began := trialUnit(v.Application, v.Version), time.Now()
	defer d.stopAfterwards(name)
	if err := d.supervisor.Start(ctx, name); err != nil {
		return d.explain(ctx, name, began, err)
	}
	probe := probe{host: d.host, port: v.Port + trialOffset, path: v.HealthPath, version: v.Version}
	return d.explain(ctx, name, began, d.await(ctx, name, probe))
}

// switchTo brings a version up on its socket, beside the one before, and when it
// answers there lets that one finish what it has. One on another port serves on,
// see [daemon.leavePorts], and the new version is told of only once it is healthy alone.
func (d *deployer) switchTo(ctx context.Context, v installed) error {
	before, had := d.store.current(v.Application)
	name, began := serviceUnit(v.Application, v.Version), time.Now()
	shares, err := d.sharesPort(ctx, v)
	if err != nil {
		return err
	}
	probe := probe{host: d.host, port: v.Port, path: v.HealthPath, version: v.Version, alone: !shares}
	if err = d.supervisor.Start(ctx, name); err == nil {
		err = d.await(ctx, name, probe)
	}
	if err != nil {
		err = d.explain(ctx, name, began, err)
		d.stopAfterwards(name)
		return err
	}
	if err := d.store.setCurrent(v.Application, v.Version); err != nil {
		return err
	}
	if err := d.stopOthers(ctx, v); err != nil || !shares {
		return err
	}
	probe.alone = true
	if err := d.await(ctx, name, probe); err != nil {
		err = d.explain(ctx, name, began, err)
		return errors.Join(err, d.goBack(v, before, had))
	}
	return nil
}

// stopOthers has all other versions of an application drain but those that serve on
// another port, and doesn't wait.
func (d *deployer) stopOthers(ctx context.Context, v installed) error {
	states, err := d.supervisor.States(ctx, unitsOf(v.Application))
	if err != nil {
		return err
	}
	var errs []error
	for name := range states {
		version, trial := versionOf(v.Application, name)
		other, err := d.store.installed(v.Application, version)
		if !trial && (version == v.Version || err == nil && other.Port != v.Port) {
			continue
		}
		errs = append(errs, d.supervisor.Stop(ctx, name, false))
	}
	return errors.Join(errs...)
}

// goBack undoes a switch whose version failed once it was alone.
func (d *deployer) goBack(failed, before installed, had bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	if had {
		err = errors.Join(d.store.setCurrent(before.Application, before.Version),
			d.supervisor.Start(ctx, serviceUnit(before.Application, before.Version)))
	} else {
		err = d.store.unsetCurrent(failed.Application)
	}
	return errors.Join(err, d.supervisor.Stop(ctx, serviceUnit(failed.Application, failed.Version), true))
}

// discard removes a version that did not come up, unless the error is none of its.
func (d *deployer) discard(v installed, err error) error {
	if errors.Is(err, errWrong) {
		if current, ok := d.store.current(v.Application); !ok || current.Version != v.Version {
			err = errors.Join(err, d.store.remove(v.Application, v.Version))
		}
	}
	return err
}

// stopAfterwards stops a unit also when the deployment was cancelled.
func (d *deployer) stopAfterwards(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := d.supervisor.Stop(ctx, name, true); err != nil {
		d.log.Warn("a unit did not stop", "unit", name, "error", err)
	}
}

// explain adds what the application said to an error.
func (d *deployer) explain(ctx context.Context, name string, since time.Time, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if said := d.supervisor.Log(ctx, name, since); said != "" {
		return fmt.Errorf("%w; it said:\n%s", err, said)
	}
	return err
}
