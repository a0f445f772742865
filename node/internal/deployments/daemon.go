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
)

const (
	// reconcileEvery is how often the desired versions are read again: a message
	// is only a hint, and one that was missed costs this much.
	reconcileEvery = time.Minute
	statusEvery    = 2 * time.Second
	reportTimeout  = 3 * time.Second
	progressLife   = 30 * 24 * time.Hour
)

// daemon brings a node's applications to their desired versions.
type daemon struct {
	deployer
	node     string
	registry *redis.Client
	status   status

	mu      sync.Mutex
	workers map[string]chan struct{} // by application; a token wakes its worker
}

// run works until the context ends. It needs neither Redis nor S3 to keep what is
// on the disk running.
func (d *daemon) run(ctx context.Context) error {
	if err := d.recover(ctx); err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { d.status.keep(ctx) })
	all.Go(func() { d.listen(ctx, &all) })
	tick := time.NewTicker(reconcileEvery)
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

// recover undoes what a killed daemon had begun: half-made environments, trials,
// and versions that started beside the current one.
func (d *daemon) recover(ctx context.Context) error {
	applications, err := d.store.applications()
	if err != nil {
		return err
	}
	for _, a := range applications {
		if err := d.store.removeHalfMade(a); err != nil {
			d.log.Warn("a half-made environment stays", "application", a, "error", err)
		}
	}
	if err := d.supervisor.Reload(ctx); err != nil { // the last one may not have come to it
		return err
	}
	for _, a := range applications {
		v, ok := d.store.current(a)
		if ok {
			if err := d.supervisor.Start(ctx, serviceUnit(a, v.Version)); err != nil {
				d.log.Error("the current version does not start", "application", a, "version", v.Version, "error", err)
				continue // then whatever runs is better than nothing
			}
		}
		if err := d.stopOthers(ctx, v); err != nil {
			d.log.Warn("another version may still run", "application", a, "error", err)
		}
	}
	return nil
}

// listen wakes the worker of each application that a message names. go-redis
// subscribes again by itself when the connection was lost; what was said in
// between is gone, so everything is looked at then.
func (d *daemon) listen(ctx context.Context, all *sync.WaitGroup) {
	subscription := d.registry.Subscribe(ctx, registry.DeploymentChannel)
	end := func() { _ = subscription.Close() } // and with it the channel
	defer end()
	defer context.AfterFunc(ctx, end)()
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

// wakeAll wakes the workers of all applications that are desired or on the disk.
func (d *daemon) wakeAll(ctx context.Context, all *sync.WaitGroup) {
	desired, err := registry.ReadApplications(ctx, d.registry)
	if err != nil {
		d.log.Warn("the registry does not answer; what is on the disk runs on", "error", err)
	} else {
		d.offer(ctx)
	}
	here, err := d.store.applications()
	if err != nil {
		d.log.Error("can't list what is on the disk", "error", err)
	}
	for _, a := range append(desired, here...) {
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
		all.Go(func() { d.work(ctx, application, worker) })
	}
	select {
	case worker <- struct{}{}:
	default: // it is to look again anyway
	}
}

// work brings one application up to date whenever it is woken. In between former
// ports are left, and byte code is made, without which each start of a version takes
// longer.
func (d *daemon) work(ctx context.Context, application string, wake <-chan struct{}) {
	var between sync.WaitGroup
	defer between.Wait()
	for stop := func() {}; ; {
		select {
		case <-ctx.Done():
			stop()
			return
		case <-wake:
		}
		stop()
		between.Wait()
		d.reconcile(ctx, application)
		var idle context.Context
		idle, stop = context.WithCancel(ctx)
		between.Go(func() { d.compileCurrent(idle, application) })
		between.Go(func() { d.leavePorts(idle, application) })
	}
}

func (d *daemon) compileCurrent(ctx context.Context, application string) {
	v, ok := d.store.current(application)
	if !ok || d.store.isCompiled(v) {
		return
	}
	err := d.python.compile(ctx, d.store.environment(application, v.Version))
	if ctx.Err() != nil {
		return // the next time goes on
	}
	if err != nil { // a file for another Python, say, that nobody imports
		d.log.Warn("byte code is not complete", "application", application, "version", v.Version, "error", err)
	}
	if err := d.store.markCompiled(v); err != nil {
		d.log.Warn("byte code will be looked at again", "application", application, "version", v.Version, "error", err)
	}
}

// reconcile brings one application to its desired version, or sees to it that the
// current one runs.
func (d *daemon) reconcile(ctx context.Context, application string) {
	desired, err := registry.ReadDesired(ctx, d.registry, application)
	if err != nil {
		d.log.Warn("can't tell the desired version", "application", application, "error", err)
	}
	r := release{application, desired.Version, desired.SHA256, desired.PublishedAt}
	current, ok := d.store.current(application)
	failed, isFailed := d.store.failed(r)
	switch {
	case desired.Version == "" || bundle.CheckVersion(desired.Version) != nil: // none, or Redis is away or empty
		d.ensure(ctx, current, ok)
	case ok && current.is(r):
		d.ensure(ctx, current, ok)
		d.reportOnce(ctx, r, registry.Progress{Phase: registry.PhaseHealthy, Running: current.Version})
	case isFailed:
		d.ensure(ctx, current, ok)
		d.reportOnce(ctx, r, registry.Progress{Phase: registry.PhaseFailed, Error: failed.Error, Running: current.Version})
	default:
		d.bringUp(ctx, r)
	}
}

// ensure starts a current version that somebody stopped, and once it runs stops what
// a deployment could not stop beside it.
func (d *daemon) ensure(ctx context.Context, current installed, ok bool) {
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
	case stateActive:
		if err := d.stopOthers(ctx, current); err != nil {
			log.Warn("another version may still run", "error", err)
		}
	case "", stateFailed: // failed: it was killed while it was to stop, and then nothing starts it again
		if err := d.supervisor.Start(ctx, name); err != nil {
			log.Error("the current version does not start", "error", err)
		}
	}
}

// bringUp deploys a release and says how it goes.
func (d *daemon) bringUp(ctx context.Context, r release) {
	log := d.log.With("application", r.Application, "version", r.Version)
	began := time.Now()
	tell := func(p registry.Progress) {
		p.ElapsedMS = time.Since(began).Milliseconds()
		d.report(ctx, r, p)
	}
	running := d.running(r.Application)
	err := d.deploy(ctx, r, func(phase registry.Phase) {
		log.Info("deployment", "phase", phase)
		tell(registry.Progress{Phase: phase, Running: running})
	})
	d.status.refresh(ctx)
	if ctx.Err() != nil {
		return // the next start takes it up again
	}
	if err != nil {
		log.Error("the release did not come up; the version before runs on", "running", running, "error", err)
		if errors.Is(err, errWrong) {
			if e := d.store.markFailed(failure{r, err.Error()}); e != nil {
				log.Error("the release will be tried again", "error", e)
			}
		}
		tell(registry.Progress{Phase: registry.PhaseFailed, Error: err.Error(), Running: d.running(r.Application)})
		return
	}
	log.Info("deployment", "phase", registry.PhaseHealthy, "ms", time.Since(began).Milliseconds())
	tell(registry.Progress{Phase: registry.PhaseHealthy, Running: r.Version})
	d.tidy(ctx, r.Application)
}

// tidy does what a deployment leaves to do once its version serves.
func (d *daemon) tidy(ctx context.Context, application string) {
	if err := errors.Join(d.store.prune(application), d.pruneWheels()); err != nil {
		d.log.Warn("old versions stay", "application", application, "error", err)
	}
	if err := d.supervisor.Reload(ctx); err != nil { // so that the target wants this version and not the one before
		d.log.Error("the version before may start with the node", "application", application, "error", err)
	}
	debug.FreeOSMemory() // fetching took some, and the next may be weeks away
}

func (d *daemon) running(application string) string {
	current, _ := d.store.current(application)
	return current.Version
}

// report writes this node's progress. Redis may be away: a deployment needs it
// no more, and what counts, the end, is written by reportOnce later.
func (d *daemon) report(ctx context.Context, r release, p registry.Progress) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	p.Node, p.UpdatedAt = d.node, time.Now().UTC()
	if err := registry.WriteProgress(ctx, d.registry, r.Application, r.Version, p, progressLife); err != nil {
		d.log.Warn("can't report", "application", r.Application, "version", r.Version, "phase", p.Phase, "error", err)
	}
}

// reportOnce writes an end that the registry does not know yet: publishing a
// version empties its progress, so that every node says where it stands.
func (d *daemon) reportOnce(ctx context.Context, r release, p registry.Progress) {
	known, err := registry.ReadProgress(ctx, d.registry, r.Application, r.Version)
	if err == nil && known[d.node].Phase == p.Phase {
		return
	}
	d.report(ctx, r, p)
}

// offer tells those who make bundles what the image has.
func (d *daemon) offer(ctx context.Context) {
	if err := registry.WritePython(ctx, d.registry, d.node, d.offered); err != nil {
		d.log.Warn("can't say what the image's Python has", "error", err)
	}
}
