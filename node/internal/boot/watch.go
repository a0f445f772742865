package boot

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/health"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

// How often services are looked at: while the node comes up, and otherwise.
const (
	settling = 500 * time.Millisecond
	watching = 5 * time.Second
)

// settlingFor is how long a node that is not ready yet is looked at that often.
const settlingFor = time.Minute

// growEvery is how often the volume is asked whether it was enlarged.
const growEvery = time.Minute

// dataVolume is the volume's name among the report's services.
const dataVolume = "data-volume"

// watch looks at services and volume until the context ends.
func (b *Boot) watch(ctx context.Context) {
	again := restarts{pause: backoff.New(2*time.Second, time.Minute)}
	began := time.Now()
	lastGrown := began
	var behind repeated
	for {
		pause := watching
		found := health.Check(ctx, cluster.ServicesOf(b.Instance.Role))
		if ctx.Err() != nil {
			return
		}
		b.status.services(b.report(found))
		if why := b.unready(ctx, found); why != "" {
			if b.status.report.ReadyAt == nil && time.Since(began) < settlingFor {
				pause = settling
			}
			b.status.trouble(ctx, why)
			again.perhaps(ctx, b)
		} else {
			b.status.ready(ctx)
			again.forget()
		}
		behind.say(b.Log, "not every service has the configuration of the present topology", b.follow(ctx))
		if b.volume != nil && time.Since(lastGrown) >= growEvery {
			lastGrown = time.Now()
			b.grow(ctx)
		}
		if !backoff.Sleep(ctx, pause) {
			return
		}
	}
}

// report is what the boot report says of services and volume.
func (b *Boot) report(found []registry.ServiceHealth) []cluster.ServiceReport {
	all := []cluster.ServiceReport{}
	for _, s := range found {
		all = append(all, cluster.ServiceReport{Name: s.Name, State: s.State, Detail: s.Detail})
	}
	if b.volume == nil {
		return all
	}
	of := cluster.ServiceReport{Name: dataVolume, State: systemd.Active, Detail: b.ungrown.text}
	if trouble := b.volume.Trouble(); trouble != "" {
		of.State, of.Detail = systemd.Failed, trouble
	}
	return append(all, of)
}

// unready says why the node is not ready, or "".
func (b *Boot) unready(ctx context.Context, found []registry.ServiceHealth) string {
	var why []string
	for _, s := range found {
		if s.Healthy {
			continue
		}
		text := s.Name + ": " + s.Detail
		if isDown(s) {
			text += b.lastWords(ctx, s.Name)
		}
		why = append(why, text)
	}
	if b.volume != nil {
		if trouble := b.volume.Trouble(); trouble != "" {
			why = append(why, trouble)
		}
	}
	return strings.Join(why, "\n")
}

// isDown is a service that has ended, or will be started anew because it did.
func isDown(s registry.ServiceHealth) bool {
	return s.State == systemd.Failed || s.State == systemd.Inactive || strings.Contains(s.Detail, systemd.AutoRestart)
}

// How much of a failed unit's journal goes into the report: lines, and bytes,
// as a line may have 48 KiB (journald.conf(5), LineMax=).
const (
	journalLines = "8"
	journalBytes = 2000
)

// lastWords are the last lines that a failed service's unit logged.
func (b *Boot) lastWords(ctx context.Context, service string) string {
	for _, s := range cluster.ServicesOf(b.Instance.Role) {
		if s.Name != service {
			continue
		}
		out, err := exec.CommandContext(ctx, "journalctl", "--unit="+s.Unit, "--boot", "--lines="+journalLines, "--output=cat", "--no-pager", "--quiet").Output()
		if err != nil || len(out) == 0 {
			return ""
		}
		text := b.status.hide(strings.TrimSpace(string(out))) // before a secret may be cut in two
		return "; its journal ends:\n" + strings.ToValidUTF8(text[max(0, len(text)-journalBytes):], "")
	}
	return ""
}

// grow follows a volume that was enlarged.
func (b *Boot) grow(ctx context.Context) {
	grown, err := b.volume.Grow(ctx)
	b.ungrown.say(b.Log, "file system not grown", err)
	if grown {
		b.Log.Info("file system grown with its volume", "volume_id", b.volume.ID)
	}
}

// restarts starts units that failed again, with pauses.
type restarts struct {
	pause *backoff.Backoff
	after time.Time
}

func (r *restarts) forget() {
	r.after = time.Time{}
	r.pause.Reset()
}

// perhaps starts what is down, if the pause is over. It is called as long as
// the node is not ready.
func (r *restarts) perhaps(ctx context.Context, b *Boot) {
	if r.after.IsZero() {
		r.after = time.Now().Add(r.pause.Next())
	}
	if time.Now().Before(r.after) {
		return
	}
	r.after = time.Now().Add(r.pause.Next())
	if err := b.startAgain(ctx); err != nil {
		b.Log.Warn("services not started", "error", err)
	}
}

// startAgain starts what failed. One that somebody stopped after the node was
// ready stays stopped.
func (b *Boot) startAgain(ctx context.Context) error {
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
	var errs error // one that can't start is no reason to leave the others
	for _, name := range b.units() {
		u := units[name]
		if u.Load == systemd.Loaded && !u.Queued && (u.Active == systemd.Failed || (u.Active == systemd.Inactive && neverReady)) {
			b.Log.Info("starting again", "unit", name)
			errs = errors.Join(errs, conn.Queue(ctx, name))
		}
	}
	return errs
}
