package deployments

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

const (
	// resyncInterval is how often the desired versions are read without a message, and so
	// the delay of a missed one.
	resyncInterval = time.Minute
	statusInterval = 2 * time.Second
	// registryTimeout limits one exchange with the registry.
	registryTimeout = 3 * time.Second
	// progressExpiry is how long the registry keeps the progress of a deployment.
	progressExpiry = 30 * 24 * time.Hour
)

// daemon deploys the desired versions of a node's applications.
type daemon struct {
	deployer
	node     string
	registry *redis.Client
	status   status

	mu      sync.Mutex
	workers map[string]chan struct{} // by application; a value wakes its worker
}

// run runs until the context ends. The versions on the disk keep running without Redis
// and S3.
func (d *daemon) run(ctx context.Context) error {
	if err := d.recover(ctx); err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { d.status.run(ctx) })
	all.Go(func() { d.listen(ctx, &all) })
	tick := time.NewTicker(resyncInterval)
	defer tick.Stop()
	for {
		d.wakeAll(ctx, &all)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// recover cleans up after a daemon that was killed: it removes incomplete environments and
// stops trials and versions other than the current one.
func (d *daemon) recover(ctx context.Context) error {
	applications, err := d.store.applications()
	if err != nil {
		return err
	}
	for _, a := range applications {
		if err := d.store.removeIncomplete(a); err != nil {
			d.log.Warn("removing an incomplete environment failed", "application", a, "error", err)
		}
	}
	if err := d.supervisor.Reload(ctx); err != nil { // in case the killed daemon did not
		return err
	}
	for _, a := range applications {
		v, ok := d.store.current(a)
		if ok {
			if err := d.supervisor.Start(ctx, serviceUnit(a, v.Version)); err != nil {
				d.log.Error("starting the current version failed", "application", a, "version", v.Version, "error", err)
				continue // leave any other version running
			}
		}
		if err := d.stopOthers(ctx, v); err != nil {
			d.log.Warn("stopping other versions failed", "application", a, "error", err)
		}
	}
	return nil
}

// listen wakes the worker of each application that a message names. go-redis resubscribes
// after a lost connection; since messages may have been missed, all workers are woken
// then.
func (d *daemon) listen(ctx context.Context, all *sync.WaitGroup) {
	subscription := d.registry.Subscribe(ctx, registry.DeploymentChannel)
	closeAll := func() { _ = subscription.Close() } // including the channel
	defer closeAll()
	defer context.AfterFunc(ctx, closeAll)()
	for received := range subscription.ChannelWithSubscriptions() {
		switch m := received.(type) {
		case *redis.Subscription:
			d.wakeAll(ctx, all)
		case *redis.Message:
			if r, ok := parseMessage(m.Payload); ok {
				d.wake(ctx, all, r.Service)
			}
		}
	}
}

// wakeAll wakes the workers of all applications that have a desired version or are on the
// disk.
func (d *daemon) wakeAll(ctx context.Context, all *sync.WaitGroup) {
	desired, err := registry.ReadApplications(ctx, d.registry)
	if err != nil {
		d.log.Warn("registry unavailable, keeping current versions", "error", err)
	} else {
		d.publishImage(ctx)
	}
	installed, err := d.store.applications()
	if err != nil {
		d.log.Error("listing applications failed", "error", err)
	}
	for _, a := range append(desired, installed...) {
		d.wake(ctx, all, a)
	}
}

func (d *daemon) wake(ctx context.Context, all *sync.WaitGroup, application string) {
	if bundle.CheckName(application) != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	worker, ok := d.workers[application]
	if !ok {
		worker = make(chan struct{}, 1)
		d.workers[application] = worker
		all.Go(func() { d.runWorker(ctx, application, worker) })
	}
	select {
	case worker <- struct{}{}:
	default: // already awake
	}
}

// runWorker reconciles one application whenever it is woken. In between it retires former
// ports, and compiles byte code, which makes a version start faster.
func (d *daemon) runWorker(ctx context.Context, application string, wake <-chan struct{}) {
	var background sync.WaitGroup
	defer background.Wait()
	for stop := func() {}; ; {
		select {
		case <-ctx.Done():
			stop()
			return
		case <-wake:
		}
		stop()
		background.Wait()
		d.reconcile(ctx, application)
		var idle context.Context
		idle, stop = context.WithCancel(ctx)
		background.Go(func() { d.compileCurrent(idle, application) })
		background.Go(func() { d.retirePorts(idle, application) })
	}
}

func (d *daemon) compileCurrent(ctx context.Context, application string) {
	v, ok := d.store.current(application)
	if !ok || d.store.isCompiled(v) {
		return
	}
	err := d.python.compile(ctx, d.store.environment(application, v.Version))
	if ctx.Err() != nil {
		return // continued by the next call
	}
	if err != nil { // for example a file for another Python, which is never imported
		d.log.Warn("compiling byte code failed", "application", application, "version", v.Version, "error", err)
	}
	if err := d.store.markCompiled(v); err != nil {
		d.log.Warn("recording compiled byte code failed", "application", application, "version", v.Version, "error", err)
	}
}

// reconcile deploys the desired version of an application, or ensures that the current one
// is running.
func (d *daemon) reconcile(ctx context.Context, application string) {
	desired, err := registry.ReadDesired(ctx, d.registry, application)
	if err != nil {
		d.log.Warn("reading the desired version failed", "application", application, "error", err)
	}
	r := release{application, desired.Version, desired.SHA256, desired.PublishedAt}
	current, ok := d.store.current(application)
	failed, isFailed := d.store.failed(r)
	switch {
	case desired.Version == "" || bundle.CheckVersion(desired.Version) != nil: // none, or Redis is unavailable or empty
		d.ensureRunning(ctx, current, ok)
	case ok && current.matches(r):
		d.ensureRunning(ctx, current, ok)
		d.reportOnce(ctx, r, registry.Progress{Phase: registry.PhaseHealthy, Running: current.Version})
	case isFailed:
		d.ensureRunning(ctx, current, ok)
		d.reportOnce(ctx, r, registry.Progress{Phase: registry.PhaseFailed, Error: failed.Error, Running: current.Version})
	default:
		d.deployAndReport(ctx, r)
	}
}

// ensureRunning starts a current version that was stopped. Once it is running, it stops
// other versions that a deployment could not stop.
func (d *daemon) ensureRunning(ctx context.Context, current installed, ok bool) {
	if !ok {
		return
	}
	log := d.log.With("application", current.Application, "version", current.Version)
	name := serviceUnit(current.Application, current.Version)
	states, err := d.supervisor.States(ctx, name)
	if err != nil {
		return
	}
	switch states[name] {
	case systemd.Active:
		if err := d.stopOthers(ctx, current); err != nil {
			log.Warn("stopping other versions failed", "error", err)
		}
	case "", systemd.Failed: // it failed while stopping, after which systemd does not restart it
		if err := d.supervisor.Start(ctx, name); err != nil {
			log.Error("starting the current version failed", "error", err)
		}
	}
}

// deployAndReport deploys a release and reports its progress to the registry.
func (d *daemon) deployAndReport(ctx context.Context, r release) {
	log := d.log.With("application", r.Application, "version", r.Version)
	began := time.Now()
	report := func(p registry.Progress) {
		p.ElapsedMS = time.Since(began).Milliseconds()
		d.report(ctx, r, p)
	}
	running := d.running(r.Application)
	err := d.deploy(ctx, r, func(phase registry.Phase) {
		log.Info("deployment", "phase", phase)
		report(registry.Progress{Phase: phase, Running: running})
	})
	d.status.refresh(ctx)
	if ctx.Err() != nil {
		return // continued after a restart
	}
	if err != nil {
		log.Error("deployment failed", "running", running, "error", err)
		if errors.Is(err, errPermanent) {
			if e := d.store.markFailed(failure{r, err.Error()}); e != nil {
				log.Error("recording the failed release failed", "error", e)
			}
		}
		report(registry.Progress{Phase: registry.PhaseFailed, Error: err.Error(), Running: d.running(r.Application)})
		return
	}
	log.Info("deployment", "phase", registry.PhaseHealthy, "ms", time.Since(began).Milliseconds())
	report(registry.Progress{Phase: registry.PhaseHealthy, Running: r.Version})
	d.cleanUp(ctx, r.Application)
}

// cleanUp removes old versions after a deployment, and makes the new one start with the
// node.
func (d *daemon) cleanUp(ctx context.Context, application string) {
	if err := errors.Join(d.store.prune(application), d.pruneWheels()); err != nil {
		d.log.Warn("removing old versions failed", "application", application, "error", err)
	}
	if err := d.supervisor.Reload(ctx); err != nil { // updates the wants of the target
		d.log.Error("reloading units failed, a reboot may start the former version", "application", application, "error", err)
	}
	debug.FreeOSMemory() // the next deployment may be weeks away
}

func (d *daemon) running(application string) string {
	current, _ := d.store.current(application)
	return current.Version
}

// report writes this node's progress. A failure does not affect the deployment: reportOnce
// writes the result later.
func (d *daemon) report(ctx context.Context, r release, p registry.Progress) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	p.Node, p.UpdatedAt = d.node, time.Now().UTC()
	if err := registry.WriteProgress(ctx, d.registry, r.Application, r.Version, p, progressExpiry); err != nil {
		d.log.Warn("reporting progress failed", "application", r.Application, "version", r.Version, "phase", p.Phase, "error", err)
	}
}

// reportOnce writes a result unless the registry has it. Publishing a version again clears
// its progress, so that every node reports again.
func (d *daemon) reportOnce(ctx context.Context, r release, p registry.Progress) {
	known, err := registry.ReadProgress(ctx, d.registry, r.Application, r.Version)
	if err == nil && known[d.node].Phase == p.Phase {
		return
	}
	d.report(ctx, r, p)
}

// publishImage publishes what the image's Python provides, for tools that make bundles.
func (d *daemon) publishImage(ctx context.Context) {
	if err := registry.WritePython(ctx, d.registry, d.node, d.image); err != nil {
		d.log.Warn("publishing the image's Python failed", "error", err)
	}
}
