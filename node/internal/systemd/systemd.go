// Package systemd is what the node's daemons ask of systemd, over D-Bus: how
// units are, and to start, reload and restart them. Whoever may not manage
// units may still ask how they are.
package systemd

import (
	"context"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Active states of a unit, as systemd names them.
const (
	Active     = "active"
	Reloading  = "reloading"
	Inactive   = "inactive"
	Failed     = "failed"
	Activating = "activating"
)

// notFound is the load state of a unit that has no file.
const notFound = "not-found"

// Unit is how a unit is.
type Unit struct {
	Name   string
	Load   string // loaded, not-found, masked, …
	Active string
	Sub    string // such as running, dead, auto-restart
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
		units[s.Name] = Unit{Name: s.Name, Load: s.LoadState, Active: s.ActiveState, Sub: s.SubState}
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
	case u.Load != "loaded":
		return fmt.Sprintf("unit %s is %s", u.Name, u.Load)
	}
	text := fmt.Sprintf("unit %s is %s (%s)", u.Name, u.Active, u.Sub)
	if result := c.Result(ctx, u.Name); result != "" && result != "success" {
		text += ", result " + result
	}
	return text
}
