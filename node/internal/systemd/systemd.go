// Package systemd is what the node's daemons ask of systemd, over D-Bus: how
// units are, and to start, reload and restart them. Whoever may not manage
// units may still ask how they are.
package systemd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Active states of a unit, as systemd names them.
const (
	Active    = "active"
	Reloading = "reloading"
	Inactive  = "inactive"
	Failed    = "failed"
)

// AutoRestart is the sub-state of a service that ended and will be started again.
const AutoRestart = "auto-restart"

// Load states of a unit.
const (
	Loaded   = "loaded"
	notFound = "not-found" // it has no file
)

// Unit is how a unit is.
type Unit struct {
	Name   string
	Load   string // loaded, not-found, masked, …
	Active string
	Sub    string // such as running, dead, auto-restart
	// Queued is that a job waits or runs, such as a start after another unit's.
	Queued bool
}

// IsUp says whether the unit does its work.
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

// Close ends the connection.
func (c *Conn) Close() { c.bus.Close() }

// Units returns how the named units are, by name. Unknown ones are there, with
// the load state not-found.
func (c *Conn) Units(ctx context.Context, names []string) (map[string]Unit, error) {
	states, err := c.bus.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("ask systemd how units %v are: %w", names, err)
	}
	units := map[string]Unit{}
	for _, s := range states {
		units[s.Name] = Unit{Name: s.Name, Load: s.LoadState, Active: s.ActiveState, Sub: s.SubState, Queued: s.JobId != 0}
	}
	return units, nil
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

// Trouble says in a few words why a unit does not do its work, or "" if it does.
func (c *Conn) Trouble(ctx context.Context, u Unit) string {
	switch {
	case u.IsUp():
		return ""
	case u.Load == notFound:
		return "the image has no unit " + u.Name
	case u.Load != Loaded:
		return fmt.Sprintf("unit %s is %s", u.Name, u.Load)
	case u.Active == Inactive && u.Queued:
		return "unit " + u.Name + " waits for others to start"
	}
	text := fmt.Sprintf("unit %s is %s (%s)", u.Name, u.Active, u.Sub)
	if result := c.Result(ctx, u.Name); result != "" && result != "success" {
		text += ", result " + result
	}
	return text
}

// Reload makes systemd read all unit files again.
func (c *Conn) Reload(ctx context.Context) error {
	if err := c.bus.ReloadContext(ctx); err != nil {
		return fmt.Errorf("reload systemd's units: %w", err)
	}
	return nil
}

// Queue lets systemd start a unit with all that it wants, in one transaction,
// and does not wait. A unit that failed too often before may start again.
func (c *Conn) Queue(ctx context.Context, unit string) error {
	_ = c.bus.ResetFailedUnitContext(ctx, unit) // an error is that it had not failed
	if _, err := c.bus.StartUnitContext(ctx, unit, "replace", nil); err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	return nil
}

// Start starts a unit and waits until it has started or failed.
func (c *Conn) Start(ctx context.Context, unit string) error {
	return c.wait(ctx, "start", unit, c.bus.StartUnitContext)
}

// Refresh tells a unit that its configuration changed: it is reloaded if it
// can be, restarted if not, and left alone if it does not run.
func (c *Conn) Refresh(ctx context.Context, unit string) error {
	return c.wait(ctx, "reload or restart", unit, c.bus.ReloadOrTryRestartUnitContext)
}

type job func(ctx context.Context, unit, mode string, result chan<- string) (int, error)

func (c *Conn) wait(ctx context.Context, what, unit string, do job) error {
	result := make(chan string, 1)
	if _, err := do(ctx, unit, "replace", result); err != nil {
		return fmt.Errorf("%s %s: %w", what, unit, err)
	}
	select {
	case r := <-result:
		if r != "done" && r != "skipped" {
			return fmt.Errorf("%s %s: job %s; see systemctl status %s", what, unit, r, unit)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: %w", what, unit, ctx.Err())
	}
}

// FailedUnits is how many units have failed.
func (c *Conn) FailedUnits(_ context.Context) (int, error) {
	text, err := c.bus.GetManagerProperty("NFailedUnits") // a D-Bus value as text, such as @u 0
	if err == nil {
		var n int
		if n, err = strconv.Atoi(strings.TrimPrefix(text, "@u ")); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("ask systemd how many units failed: %w", err)
}

// IsStopping says whether the machine is shutting down.
func (c *Conn) IsStopping(_ context.Context) (bool, error) {
	text, err := c.bus.GetManagerProperty("SystemState")
	if err != nil {
		return false, fmt.Errorf("ask systemd how the machine is: %w", err)
	}
	return text == `"stopping"`, nil
}
