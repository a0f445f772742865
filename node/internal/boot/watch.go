package boot

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/health"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

const (
	// healthInterval is how often services are checked.
	healthInterval = 5 * time.Second
	// startupPollInterval is how often they are checked for the first startupPeriod, until
	// the node is ready.
	startupPollInterval = 500 * time.Millisecond
	startupPeriod       = time.Minute
	// growInterval is how often the volume is checked for having been enlarged.
	growInterval = time.Minute
	// renewInterval is how often S3 is polled for renewed certificates. Four requests a
	// minute cost 7 cents a month.
	renewInterval = time.Minute
)

// dataVolume is the volume's name among the report's services.
const dataVolume = "data-volume"

// watch checks services and volume until the context ends.
func (b *Boot) watch(ctx context.Context) {
	restarts := restarter{pause: backoff.New(2*time.Second, time.Minute)}
	began := time.Now()
	lastGrown := began
	lastRenewed := began
	var behind, notRenewed journal.Problem
	for {
		pause := healthInterval
		found := health.Check(ctx, cluster.ServicesOf(b.Instance.Role))
		if ctx.Err() != nil {
			return
		}
		b.status.setServices(b.report(found))
		if reason := b.unreadyReason(ctx, found); reason != "" {
			if b.status.report.ReadyAt == nil && time.Since(began) < startupPeriod {
				pause = startupPollInterval
			}
			b.status.setError(ctx, reason)
			restarts.maybe(ctx, b)
		} else {
			b.status.setReady(ctx)
			restarts.reset()
		}
		if time.Since(lastRenewed) >= renewInterval {
			lastRenewed = time.Now()
			notRenewed.Set(b.Log, "fetching certificates failed, retrying", b.fetchCertificates(ctx))
		}
		behind.Set(b.Log, "applying changes failed, retrying", b.applyChanges(ctx))
		if b.volume != nil && time.Since(lastGrown) >= growInterval {
			lastGrown = time.Now()
			b.grow(ctx)
		}
		if !backoff.Sleep(ctx, pause) {
			return
		}
	}
}

// report returns the boot report's entries for services and volume.
func (b *Boot) report(found []registry.ServiceHealth) []cluster.ServiceReport {
	all := []cluster.ServiceReport{}
	for _, s := range found {
		all = append(all, cluster.ServiceReport{Name: s.Name, State: s.State, Detail: s.Detail})
	}
	if text := b.expiring(time.Now()); text != "" {
		all = append(all, cluster.ServiceReport{Name: cluster.CertificatesService, State: systemd.Active, Detail: text})
	}
	if b.volume == nil {
		return all
	}
	volume := cluster.ServiceReport{Name: dataVolume, State: systemd.Active, Detail: b.growFailure.String()}
	if err := b.volume.Check(); err != nil {
		volume.State, volume.Detail = systemd.Failed, err.Error()
	}
	return append(all, volume)
}

// unreadyReason returns why the node is not ready, or "" if it is.
func (b *Boot) unreadyReason(ctx context.Context, found []registry.ServiceHealth) string {
	var reasons []string
	for _, s := range found {
		if s.Healthy {
			continue
		}
		text := s.Name + ": " + s.Detail
		if isDown(s) {
			text += b.journalOf(ctx, s.Name)
		}
		reasons = append(reasons, text)
	}
	if b.volume != nil {
		if err := b.volume.Check(); err != nil {
			reasons = append(reasons, err.Error())
		}
	}
	return strings.Join(reasons, "\n")
}

// isDown reports whether a service has ended or is about to be restarted.
func isDown(s registry.ServiceHealth) bool {
	return s.State == systemd.Failed || s.State == systemd.Inactive || strings.Contains(s.Detail, systemd.AutoRestart)
}

// Limits of the journal of a failed unit in the report. A line may have 48 KiB
// (journald.conf(5), LineMax=).
const (
	journalLines = 8
	journalBytes = 2000
)

// journalOf returns the end of a service's journal, for an error.
func (b *Boot) journalOf(ctx context.Context, service string) string {
	for _, s := range cluster.ServicesOf(b.Instance.Role) {
		if s.Name != service {
			continue
		}
		text := systemd.Journal(ctx, s.Unit, time.Time{}, journalLines)
		if text == "" {
			return ""
		}
		text = b.status.redact(text) // before truncation can split a secret
		return "; last lines of its journal:\n" + strings.ToValidUTF8(text[max(0, len(text)-journalBytes):], "")
	}
	return ""
}

// grow grows the file system of a volume that was enlarged.
func (b *Boot) grow(ctx context.Context) {
	grown, err := b.volume.Grow(ctx)
	b.growFailure.Set(b.Log, "growing the file system failed, retrying", err, "volume_id", b.volume.ID)
	if grown {
		b.Log.Info("file system grown", "volume_id", b.volume.ID)
	}
}

// restarter restarts failed units, with growing pauses.
type restarter struct {
	pause *backoff.Backoff
	after time.Time
}

func (r *restarter) reset() {
	r.after = time.Time{}
	r.pause.Reset()
}

// maybe starts the units that are down, unless a pause is in progress. It is called while
// the node is not ready.
func (r *restarter) maybe(ctx context.Context, b *Boot) {
	if r.after.IsZero() {
		r.after = time.Now().Add(r.pause.Next())
	}
	if time.Now().Before(r.after) {
		return
	}
	r.after = time.Now().Add(r.pause.Next())
	if err := b.restartFailed(ctx); err != nil {
		b.Log.Warn("starting services failed", "error", err)
	}
}

// restartFailed starts the units that failed. A unit that an operator stopped after the
// node was ready stays stopped.
func (b *Boot) restartFailed(ctx context.Context) error {
	conn, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	units, err := conn.Units(ctx, b.units())
	if err != nil {
		return err
	}
	neverReady := b.status.report.ReadyAt == nil
	var errs error
	for _, name := range b.units() {
		u := units[name]
		if u.Load == systemd.Loaded && !u.Queued && (u.Active == systemd.Failed || (u.Active == systemd.Inactive && neverReady)) {
			b.Log.Info("restarting unit", "unit", name)
			errs = errors.Join(errs, conn.Queue(ctx, name))
		}
	}
	return errs
}
