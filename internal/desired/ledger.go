package desired

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/xeroops/xeroops/internal/bundle"
)

// Ledger is which application each port and each route prefix belongs to. It is
// kept in an object that only management writes, so that no deployer can claim to
// have been first.
type Ledger struct {
	Schema   int               `json:"schema"`
	Ports    map[int]string    `json:"ports"`    // application by port
	Prefixes map[string]string `json:"prefixes"` // application by route prefix
}

// ErrUnassigned is the error of a port and prefix that nobody holds yet: management
// assigns them once it has seen the application's object.
var ErrUnassigned = errors.New("management has not assigned the port and route prefix yet")

// TakenError is the error of an application that desires what is another's.
type TakenError struct {
	Application string
	What        string // port 8001, route prefix /api/notes
	By          string // the application that holds it, or desired it in the same second
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("application %s: %s belongs to application %s, which had it first; choose another in [tool.xeroops]", e.Application, e.What, e.By)
}

// Check returns nil if port and prefix of s belong to its application, and else a
// [TakenError] or [ErrUnassigned]. Nodes start no version, and routing sends no
// request, before it returns nil; the CLI says so before it deploys.
func (l Ledger) Check(s State) error {
	if err := l.conflict(s); err != nil {
		return err
	}
	if !l.holds(s) {
		return fmt.Errorf("application %s: %w", s.Application, ErrUnassigned)
	}
	return nil
}

func (l Ledger) holds(s State) bool {
	return l.Ports[s.Port] == s.Application && l.Prefixes[s.RoutePrefix] == s.Application
}

// conflict returns a [TakenError] if s desires what another application holds.
func (l Ledger) conflict(s State) error {
	if by := l.Ports[s.Port]; by != "" && by != s.Application {
		return &TakenError{s.Application, fmt.Sprintf("port %d", s.Port), by}
	}
	for _, prefix := range slices.Sorted(maps.Keys(l.Prefixes)) {
		if by := l.Prefixes[prefix]; by != s.Application && overlap(prefix, s.RoutePrefix) {
			return &TakenError{s.Application, "route prefix " + prefix, by}
		}
	}
	return nil
}

// overlap reports whether one prefix is the other, or has it below: the longer one
// would take requests of the shorter one.
func overlap(a, b string) bool {
	return strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")
}

// Assign returns the ledger after before, for the objects that there are, and why
// applications got nothing, by name. What an application holds stays its own until
// it holds all that it desires now, or its object is gone. Others get what they
// desire in the order in which S3 took their objects; two that S3 took in the same
// second get neither, as nothing says who was first. unreadable are applications
// whose objects could not be read: they keep what they hold.
func Assign(before Ledger, objects map[string]Object, unreadable []string) (after Ledger, refused map[string]error) {
	after = Ledger{Schema: Schema, Ports: maps.Clone(before.Ports), Prefixes: maps.Clone(before.Prefixes)}
	if after.Ports == nil {
		after.Ports = map[int]string{}
	}
	if after.Prefixes == nil {
		after.Prefixes = map[string]string{}
	}
	gone := func(application string) bool {
		_, exists := objects[application]
		return !exists && !slices.Contains(unreadable, application)
	}
	maps.DeleteFunc(after.Ports, func(_ int, application string) bool { return gone(application) })
	maps.DeleteFunc(after.Prefixes, func(_ string, application string) bool { return gone(application) })

	var waiting []Object
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		if o := objects[name]; after.holds(o.State) {
			after.grant(o.State) // releases what it held besides
		} else {
			waiting = append(waiting, o)
		}
	}
	slices.SortStableFunc(waiting, func(x, y Object) int { return x.Modified.Compare(y.Modified) })
	refused = map[string]error{}
	for len(waiting) > 0 {
		n := 1
		for n < len(waiting) && waiting[n].Modified.Equal(waiting[0].Modified) {
			n++
		}
		after.admit(waiting[:n], refused)
		waiting = waiting[n:]
	}
	return after, refused
}

// admit assigns what applications desire that came at the same time.
func (l Ledger) admit(group []Object, refused map[string]error) {
	var granted []State
	for i, o := range group {
		err := l.conflict(o.State)
		for j := 0; j < len(group) && err == nil; j++ {
			if j != i {
				err = clash(o.State, group[j].State)
			}
		}
		if err != nil {
			refused[o.Application] = err
		} else {
			granted = append(granted, o.State)
		}
	}
	for _, s := range granted {
		l.grant(s)
	}
}

// clash returns a [TakenError] if s and other desire the same.
func clash(s, other State) error {
	switch {
	case s.Port == other.Port:
		return &TakenError{s.Application, fmt.Sprintf("port %d", s.Port), other.Application}
	case overlap(s.RoutePrefix, other.RoutePrefix):
		return &TakenError{s.Application, "route prefix " + other.RoutePrefix, other.Application}
	}
	return nil
}

// grant makes s all that its application holds.
func (l Ledger) grant(s State) {
	maps.DeleteFunc(l.Ports, func(_ int, application string) bool { return application == s.Application })
	maps.DeleteFunc(l.Prefixes, func(_ string, application string) bool { return application == s.Application })
	l.Ports[s.Port], l.Prefixes[s.RoutePrefix] = s.Application, s.Application
}

// Equal reports whether both ledgers assign the same.
func (l Ledger) Equal(other Ledger) bool {
	return maps.Equal(l.Ports, other.Ports) && maps.Equal(l.Prefixes, other.Prefixes)
}

// check returns the first thing that is wrong with l.
func (l Ledger) check() error {
	if l.Schema != Schema {
		return fmt.Errorf("schema %d: this version reads schema %d", l.Schema, Schema)
	}
	for port, application := range l.Ports {
		if err := cmp.Or(bundle.CheckName(application), bundle.CheckRoute(port, "/api/x", "/")); err != nil {
			return err
		}
	}
	for prefix, application := range l.Prefixes {
		if err := cmp.Or(bundle.CheckName(application), bundle.CheckRoute(bundle.FirstPort, prefix, "/")); err != nil {
			return err
		}
	}
	return nil
}
