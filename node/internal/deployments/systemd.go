package deployments

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// supervisor runs units. On a node it is [systemd]; tests have one that runs the
// same programs as their own children.
type supervisor interface {
	// Reload reads units anew, after a version came or another became current.
	Reload(ctx context.Context) error
	// Start returns once the unit's main process runs. Starting what runs is no error.
	Start(ctx context.Context, unit string) error
	// Stop asks a unit to stop, and with wait waits until it has.
	Stop(ctx context.Context, unit string, wait bool) error
	// States returns the active state by unit for those that match a pattern and
	// are not inactive.
	States(ctx context.Context, pattern string) (map[string]string, error)
	// Log returns the last lines that a unit wrote since a time.
	Log(ctx context.Context, unit string, since time.Time) string
}

// States of a unit, as systemd names them.
const (
	stateActive       = "active"
	stateDeactivating = "deactivating"
	stateInactive     = "inactive"
	stateFailed       = "failed"
)

// logLines of an application that failed are reported; a traceback fits.
const logLines = 15

// systemd is the node's. A polkit rule lets this daemon's user manage the units
// of applications and no others.
type systemd struct{ conn *dbus.Conn }

func (s systemd) Reload(ctx context.Context) error {
	if err := s.conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("have systemd read the applications' units: %w", err)
	}
	return nil
}

func (s systemd) Start(ctx context.Context, unit string) error {
	done := make(chan string, 1)
	if _, err := s.conn.StartUnitContext(ctx, unit, "replace", done); err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	return awaitJob(ctx, "start", unit, done)
}

func (s systemd) Stop(ctx context.Context, unit string, wait bool) error {
	var done chan string
	if wait {
		done = make(chan string, 1)
	}
	_, err := s.conn.StopUnitContext(ctx, unit, "replace", done)
	if isNotLoaded(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", unit, err)
	}
	if wait {
		err = awaitJob(ctx, "stop", unit, done)
	}
	// A unit that failed would count as a fault of the node for ever.
	if e := s.conn.ResetFailedUnitContext(ctx, unit); e != nil && !isNotLoaded(e) {
		err = errors.Join(err, fmt.Errorf("forget the failure of %s: %w", unit, e))
	}
	return err
}

func isNotLoaded(err error) bool {
	var answer godbus.Error
	return errors.As(err, &answer) && answer.Name == "org.freedesktop.systemd1.NoSuchUnit"
}

func awaitJob(ctx context.Context, what, unit string, done <-chan string) error {
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("%s %s: systemd's job ended with %q", what, unit, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: %w", what, unit, ctx.Err())
	}
}

func (s systemd) States(ctx context.Context, pattern string) (map[string]string, error) {
	units, err := s.conn.ListUnitsByPatternsContext(ctx, nil, []string{pattern})
	if err != nil {
		return nil, fmt.Errorf("ask systemd how %s are: %w", pattern, err)
	}
	states := map[string]string{}
	for _, u := range units {
		if u.ActiveState != stateInactive {
			states[u.Name] = u.ActiveState
		}
	}
	return states, nil
}

func (s systemd) Log(ctx context.Context, unit string, since time.Time) string {
	out, err := exec.CommandContext(ctx, "journalctl", "--unit="+unit, "--since=@"+strconv.FormatInt(since.Unix(), 10),
		"--lines="+strconv.Itoa(logLines), "--output=cat", "--no-pager", "--quiet").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
