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
	"github.com/xeroops/xeroops/internal/traceback"
)

// deployer deploys releases on this node. The current version serves until the new one
// does, and keeps serving if a step fails or the process is killed.
type deployer struct {
	store      store
	fetch      fetcher
	python     python
	supervisor supervisor
	image      registry.Python // what the image provides
	host       string          // address of health checks
	log        hclog.Logger

	installing sync.RWMutex // read-locked while there are wheels that no version has yet
	claims     claims
}

// claims are the ports of deployments in progress.
type claims struct {
	mu    sync.Mutex
	ports map[int]string // application by port
}

// reportFunc is called at the beginning of each phase of a deployment.
type reportFunc func(registry.Phase)

// deploy makes a release the current version. An error that is [errPermanent] requires
// another release; after any other, a retry may succeed.
func (d *deployer) deploy(ctx context.Context, r release, report reportFunc) error {
	report(registry.PhaseDownloading)
	v, err := d.store.installed(r.Application, r.Version)
	if err != nil || !v.matches(r) {
		if v, err = d.install(ctx, r, report); err != nil {
			return err
		}
		if err := d.supervisor.Reload(ctx); err != nil { // which generates its units
			return errors.Join(err, d.store.remove(r.Application, r.Version)) // so that the next attempt reloads, too
		}
	}
	if err := d.claim(ctx, v.Manifest); err != nil {
		return err
	}
	defer d.unclaim(v.Manifest)
	report(registry.PhaseTrying)
	if err := d.runTrial(ctx, v); err != nil {
		return d.discard(v, err)
	}
	report(registry.PhaseSwitching)
	if err := d.switchTo(ctx, v); err != nil {
		return d.discard(v, err)
	}
	return nil
}

// install creates the environment of a release. After an error nothing of it is left.
func (d *deployer) install(ctx context.Context, r release, report reportFunc) (installed, error) {
	if current, ok := d.store.current(r.Application); ok && current.Version == r.Version {
		return installed{}, permanent("version %s is already serving with other content (%s); publish this content under another version", r.Version, current.SHA256)
	}
	m, content, err := d.fetch.manifest(ctx, r)
	if err != nil {
		return installed{}, err
	}
	if err := d.checkCompatible(m); err != nil {
		return installed{}, err
	}
	if err := d.checkSpace(wheelBytes(m), "the wheels need"); err != nil {
		return installed{}, err
	}
	d.installing.RLock()
	if err := d.fetch.wheels(ctx, m); err != nil {
		d.installing.RUnlock()
		return installed{}, err
	}
	report(registry.PhaseInstalling)
	err = d.createEnvironment(ctx, m, content)
	d.installing.RUnlock()
	if err != nil {
		return installed{}, errors.Join(err, d.store.remove(r.Application, r.Version), d.pruneWheels())
	}
	return installed{m, r.SHA256}, nil
}

// pruneWheels removes wheels that no version has, unless another application is being
// installed, whose wheels they may be. The last concurrent deployment prunes.
func (d *deployer) pruneWheels() error {
	if !d.installing.TryLock() {
		return nil
	}
	defer d.installing.Unlock()
	return d.store.pruneWheels()
}

func (d *deployer) createEnvironment(ctx context.Context, m bundle.Manifest, content []byte) error {
	need, err := unpackedBytes(m, d.store)
	if err != nil {
		return err
	}
	if err := d.checkSpace(need, "the environment needs"); err != nil {
		return err
	}
	if err := d.store.remove(m.Application, m.Version); err != nil { // former content that is not serving
		return fmt.Errorf("remove the former content of %s: %w", m.Version, err)
	}
	dir := d.store.environment(m.Application, m.Version)
	if err := d.python.install(ctx, dir, m, d.store); err != nil {
		if errSpace := d.checkSpace(0, "the environment needs"); errSpace != nil || ctx.Err() != nil {
			return errors.Join(err, errSpace)
		}
		return permanent("%w", err)
	}
	return d.store.complete(m.Application, m.Version, content)
}

// checkCompatible returns an error if this node cannot run a bundle.
func (d *deployer) checkCompatible(m bundle.Manifest) error {
	if m.Python != d.image.Version {
		return permanent("the bundle is for Python %s, but the image has %s; build the bundle again", m.Python, d.image.Version)
	}
	return d.checkPortFree(m)
}

// checkPortFree returns an error if a bundle's port is that of another application.
func (d *deployer) checkPortFree(m bundle.Manifest) error {
	applications, err := d.store.applications()
	if err != nil {
		return err
	}
	for _, a := range applications {
		if other, ok := d.store.current(a); ok && a != m.Application && other.Port == m.Port {
			return permanent("port %d is used by application %s; choose another in [tool.xeroops]", m.Port, a)
		}
	}
	return nil
}

// claim reserves a version's port until [deployer.unclaim]. Another application may have
// taken the port of a version that was not current, and two applications on one socket
// would get each other's requests.
func (d *deployer) claim(ctx context.Context, m bundle.Manifest) error {
	d.claims.mu.Lock()
	defer d.claims.mu.Unlock()
	if other, claimed := d.claims.ports[m.Port]; claimed {
		return fmt.Errorf("port %d is used by application %s, which is being deployed; choose another in [tool.xeroops]", m.Port, other)
	}
	if err := d.checkPortFree(m); err != nil {
		return err
	}
	if err := d.checkPortRetired(ctx, m.Application, m.Port); err != nil {
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

// checkSpace returns an error if the disk lacks space for needBytes more. purpose begins
// the error, such as "the wheels need".
func (d *deployer) checkSpace(needBytes uint64, purpose string) error {
	freeBytes, err := d.store.freeBytes()
	if err != nil {
		return err
	}
	if freeBytes < needBytes+spareBytes {
		return fmt.Errorf("disk: %s %d MiB and %d MiB must stay free, but %s has only %d MiB; free some space, or give the node a larger root volume",
			purpose, needBytes>>20, spareBytes>>20, d.store.root, freeBytes>>20)
	}
	return nil
}

// runTrial starts a version on a loopback port, beside the current one, and stops it when
// it is healthy.
func (d *deployer) runTrial(ctx context.Context, v installed) error {
	name, began := trialUnit(v.Application, v.Version), time.Now()
	defer d.stopUnit(name, v)
	if err := d.supervisor.Start(ctx, name); err != nil {
		return d.withLog(ctx, name, began, err)
	}
	probe := probe{host: d.host, port: v.Port + trialOffset, path: v.HealthPath, health: v.HealthRequest.WithDefaults(v.Application), version: v.Version, startTimeout: v.startTimeout()}
	return d.withLog(ctx, name, began, d.awaitHealthy(ctx, name, probe))
}

// switchTo starts a version on its socket, beside the former one, which it then stops
// gracefully. A former version on another port keeps serving, see [daemon.retirePorts];
// the new one must then be healthy alone before it becomes current.
func (d *deployer) switchTo(ctx context.Context, v installed) error {
	former, hadFormer := d.store.current(v.Application)
	name, began := serviceUnit(v.Application, v.Version), time.Now()
	shares, err := d.sharesPort(ctx, v)
	if err != nil {
		return err
	}
	probe := probe{host: d.host, port: v.Port, path: v.HealthPath, health: v.HealthRequest.WithDefaults(v.Application), version: v.Version, alone: !shares, startTimeout: v.startTimeout()}
	if err := d.supervisor.Start(ctx, socketUnit(v.Port)); err != nil {
		return fmt.Errorf("open port %d of this node: %w; this is no fault of the release, and is retried: see systemctl status %s on the node", v.Port, err, socketUnit(v.Port))
	}
	if err = d.supervisor.Start(ctx, name); err == nil {
		err = d.awaitHealthy(ctx, name, probe)
	}
	if err != nil {
		err = d.withLog(ctx, name, began, err)
		d.stopUnit(name, v)
		return err
	}
	if err := d.store.setCurrent(v.Application, v.Version); err != nil {
		return err
	}
	if err := d.stopOthers(ctx, v); err != nil || !shares {
		return err
	}
	probe.alone = true
	probe.former.began = time.Now()
	probe.former.killed = probe.former.began.Add(former.stopTimeout())
	if err := d.awaitHealthy(ctx, name, probe); err != nil {
		err = d.withLog(ctx, name, began, err)
		return errors.Join(err, d.rollBack(v, former, hadFormer))
	}
	return nil
}

// stopOthers begins to stop all other versions of an application, except those on another
// port, and does not wait.
func (d *deployer) stopOthers(ctx context.Context, v installed) error {
	states, err := d.supervisor.States(ctx, unitsOf(v.Application))
	if err != nil {
		return err
	}
	var errs []error
	for name := range states {
		version, trial := parseUnit(v.Application, name)
		other, err := d.store.installed(v.Application, version)
		if !trial && (version == v.Version || err == nil && other.Port != v.Port) {
			continue
		}
		errs = append(errs, d.supervisor.Stop(ctx, name, false))
	}
	return errors.Join(errs...)
}

// rollBack undoes a switch to a version that failed once it was alone.
func (d *deployer) rollBack(failed, former installed, hadFormer bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), failed.startTimeout()+failed.stopTimeout())
	defer cancel()
	var err error
	if hadFormer {
		err = errors.Join(d.store.setCurrent(former.Application, former.Version),
			d.supervisor.Start(ctx, serviceUnit(former.Application, former.Version)))
	} else {
		err = d.store.unsetCurrent(failed.Application)
	}
	return errors.Join(err, d.supervisor.Stop(ctx, serviceUnit(failed.Application, failed.Version), true))
}

// discard removes a version that failed permanently, unless it is current.
func (d *deployer) discard(v installed, err error) error {
	if errors.Is(err, errPermanent) {
		if current, ok := d.store.current(v.Application); !ok || current.Version != v.Version {
			err = errors.Join(err, d.store.remove(v.Application, v.Version))
		}
	}
	return err
}

// stopUnit stops a unit of a version even if the deployment was cancelled.
func (d *deployer) stopUnit(name string, v installed) {
	ctx, cancel := context.WithTimeout(context.Background(), v.stopTimeout())
	defer cancel()
	if err := d.supervisor.Stop(ctx, name, true); err != nil {
		d.log.Warn("stopping unit failed", "unit", name, "error", err)
	}
}

// withLog adds the end of a unit's log to an error.
func (d *deployer) withLog(ctx context.Context, name string, since time.Time, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if log := d.supervisor.Log(ctx, name, since); log != "" {
		return fmt.Errorf("%w; last lines of its log:\n%s", err, traceback.Excerpt(log, logLines))
	}
	return err
}
