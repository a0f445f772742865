// Package systemd talks to systemd over D-Bus for all of the node's daemons: it reads
// the states of units, and starts, stops and reloads them. Reading needs no privileges.
package systemd

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

// Active states of a unit, as systemd names them.
const (
	Active       = "active"
	Reloading    = "reloading"
	Inactive     = "inactive"
	Failed       = "failed"
	Deactivating = "deactivating"
)

// AutoRestart is the sub-state of a service that ended and is about to be restarted.
const AutoRestart = "auto-restart"

// Load states of a unit.
const (
	Loaded   = "loaded"
	notFound = "not-found" // no unit file
)

// Unit is the state of a unit.
type Unit struct {
	Name   string
	Load   string // loaded, not-found, masked, …
	Active string
	Sub    string // such as running, dead, auto-restart
	// Queued reports whether a job is waiting or running, such as a start that is
	// ordered after another unit's.
	Queued bool
}

// IsUp reports whether the unit is active or reloading.
func (u Unit) IsUp() bool { return u.Active == Active || u.Active == Reloading }

// Conn is a connection to systemd. Its methods are safe for concurrent use.
type Conn struct{ bus *dbus.Conn }

// Connect opens a connection, which ends with the context at the latest.
func Connect(ctx context.Context) (*Conn, error) {
	bus, err := dbus.NewWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w", err)
	}
	return &Conn{bus}, nil
}

// Close closes the connection.
func (c *Conn) Close() { c.bus.Close() }

// Connected reports whether the connection is open. One that was lost is not restored.
func (c *Conn) Connected() bool { return c.bus.Connected() }

// Units returns the states of the named units by name. Units that do not exist have
// the load state not-found.
func (c *Conn) Units(ctx context.Context, names []string) (map[string]Unit, error) {
	states, err := c.bus.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("list units %v: %w", names, err)
	}
	units := map[string]Unit{}
	for _, s := range states {
		units[s.Name] = Unit{Name: s.Name, Load: s.LoadState, Active: s.ActiveState, Sub: s.SubState, Queued: s.JobId != 0}
	}
	return units, nil
}

// States returns the active states, by name, of the units that match a pattern and are
// not inactive.
func (c *Conn) States(ctx context.Context, pattern string) (map[string]string, error) {
	units, err := c.bus.ListUnitsByPatternsContext(ctx, nil, []string{pattern})
	if err != nil {
		return nil, fmt.Errorf("list units %s: %w", pattern, err)
	}
	states := map[string]string{}
	for _, u := range units {
		if u.ActiveState != Inactive {
			states[u.Name] = u.ActiveState
		}
	}
	return states, nil
}

// Result returns why a service ended, as systemd names it: success, exit-code,
// signal, timeout, oom-kill, start-limit-hit, …; "" for other kinds of units.
func (c *Conn) Result(ctx context.Context, unit string) string {
	p, err := c.bus.GetServicePropertyContext(ctx, unit, "Result")
	if err != nil {
		return ""
	}
	result, _ := p.Value.Value().(string)
	return result
}

// Diagnose returns why a unit is not up, in a few words, or "" if it is.
func (c *Conn) Diagnose(ctx context.Context, u Unit) string {
	switch {
	case u.IsUp():
		return ""
	case u.Load == notFound:
		return "the image has no unit " + u.Name
	case u.Load != Loaded:
		return fmt.Sprintf("unit %s is %s", u.Name, u.Load)
	case u.Active == Inactive && u.Queued:
		return "unit " + u.Name + " is waiting for other units to start"
	}
	text := fmt.Sprintf("unit %s is %s (%s)", u.Name, u.Active, u.Sub)
	if result := c.Result(ctx, u.Name); result != "" && result != "success" {
		text += ", result " + result
	}
	return text
}

// Reload makes systemd run its generators and read all unit files again.
func (c *Conn) Reload(ctx context.Context) error {
	if err := c.bus.ReloadContext(ctx); err != nil {
		return fmt.Errorf("reload systemd: %w", err)
	}
	return nil
}

// Queue enqueues the start of a unit and of all that it wants, in one transaction, and
// does not wait for it. A unit that has hit its start limit may start again.
func (c *Conn) Queue(ctx context.Context, unit string) error {
	_ = c.bus.ResetFailedUnitContext(ctx, unit) // fails if the unit has not failed
	if _, err := c.bus.StartUnitContext(ctx, unit, "replace", nil); err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	return nil
}

// Start starts a unit, unless it is running, and waits until it has started or failed.
func (c *Conn) Start(ctx context.Context, unit string) error {
	return c.wait(ctx, "start", unit, c.bus.StartUnitContext)
}

// Refresh makes a unit read its changed configuration: it is reloaded if it supports
// that, otherwise restarted, and left alone if it is not running.
func (c *Conn) Refresh(ctx context.Context, unit string) error {
	return c.wait(ctx, "reload or restart", unit, c.bus.ReloadOrTryRestartUnitContext)
}

// Stop stops a unit, and with wait returns once it has stopped. Stopping a unit that is
// not loaded is no error.
func (c *Conn) Stop(ctx context.Context, unit string, wait bool) error {
	var err error
	if wait {
		err = c.wait(ctx, "stop", unit, c.bus.StopUnitContext)
	} else if _, err = c.bus.StopUnitContext(ctx, unit, "replace", nil); err != nil {
		err = fmt.Errorf("stop %s: %w", unit, err)
	}
	if isNotLoaded(err) {
		return nil
	}
	// A unit that stays failed would count among the node's failed units forever.
	if e := c.bus.ResetFailedUnitContext(ctx, unit); e != nil && !isNotLoaded(e) {
		err = errors.Join(err, fmt.Errorf("reset the failed state of %s: %w", unit, e))
	}
	return err
}

func isNotLoaded(err error) bool {
	var answer godbus.Error
	return errors.As(err, &answer) && answer.Name == "org.freedesktop.systemd1.NoSuchUnit"
}

type job func(ctx context.Context, unit, mode string, result chan<- string) (int, error)

func (c *Conn) wait(ctx context.Context, verb, unit string, do job) error {
	result := make(chan string, 1)
	if _, err := do(ctx, unit, "replace", result); err != nil {
		return fmt.Errorf("%s %s: %w", verb, unit, err)
	}
	select {
	case r := <-result:
		if r != "done" && r != "skipped" {
			return fmt.Errorf("%s %s: job %s; see systemctl status %s", verb, unit, r, unit)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: %w", verb, unit, ctx.Err())
	}
}

// FailedUnits returns the number of units that have failed.
func (c *Conn) FailedUnits(_ context.Context) (int, error) {
	text, err := c.bus.GetManagerProperty("NFailedUnits") // a D-Bus value as text, such as @u 0
	if err == nil {
		var n int
		if n, err = strconv.Atoi(strings.TrimPrefix(text, "@u ")); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("count failed units: %w", err)
}

// IsStopping reports whether the machine is shutting down.
func (c *Conn) IsStopping(_ context.Context) (bool, error) {
	text, err := c.bus.GetManagerProperty("SystemState")
	if err != nil {
		return false, fmt.Errorf("get the system state: %w", err)
	}
	return text == `"stopping"`, nil
}

// Journal returns the last lines, at most n, that a unit has logged since a time in this
// boot, or "" if they cannot be read. The zero time is the start of the boot.
func Journal(ctx context.Context, unit string, since time.Time, n int) string {
	args := []string{"--unit=" + unit, "--boot", "--lines=" + strconv.Itoa(n), "--output=cat", "--no-pager", "--quiet"}
	if !since.IsZero() {
		args = append(args, "--since=@"+strconv.FormatInt(since.Unix(), 10))
	}
	out, err := exec.CommandContext(ctx, "journalctl", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
