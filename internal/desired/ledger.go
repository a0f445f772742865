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

// Ledger records which application each port and each route prefix belongs to. It
// is kept in an object that only management writes, so that no deployer can claim
// to have been first.
type Ledger struct {
	Schema   int               `json:"schema"`
	Ports    map[int]string    `json:"ports"`    // application by port
	Prefixes map[string]string `json:"prefixes"` // application by route prefix
}

// ErrUnassigned is returned for a port and prefix that no application holds yet:
// management assigns them once it has read the application's object.
var ErrUnassigned = errors.New("management has not assigned the port and route prefix yet")

// TakenError reports that the port or route prefix that an application desires
// belongs to another application.
type TakenError struct {
	Application string
	What        string // port 8001, route prefix /api/notes
	By          string // the application that holds it, or desired it in the same second
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("application %s: %s belongs to application %s, which had it first; choose another in [tool.xeroops]", e.Application, e.What, e.By)
}

// Check returns nil if the port and the prefix of s belong to its application, and
// otherwise a [TakenError] or [ErrUnassigned]. Until it returns nil, nodes start no
// version and routing sends no request; the CLI returns the error before it deploys.
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

// conflict returns a [TakenError] if s desires a port or prefix that another
// application holds.
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

// overlap reports whether the prefixes are equal or one is below the other: the
// longer one would take requests of the shorter one.
func overlap(a, b string) bool {
	return strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")
}

// Assign returns the ledger that follows before, given the objects that exist, and
// by application the reason for which it was refused. An application keeps what it
// holds until it holds all that it desires now, or its object is gone. Others get
// what they desire in the order in which S3 stored their objects; of two that were
// stored in the same second and desire the same, neither gets it, because their
// order is unknown. unreadable lists the applications whose objects could not be
// read: they keep what they hold.
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

// admit assigns ports and prefixes to the applications of a group, whose objects S3
// stored in the same second.
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

// clash returns a [TakenError] if s and other desire the same port or overlapping
// prefixes.
func clash(s, other State) error {
	switch {
	case s.Port == other.Port:
		return &TakenError{s.Application, fmt.Sprintf("port %d", s.Port), other.Application}
	case overlap(s.RoutePrefix, other.RoutePrefix):
		return &TakenError{s.Application, "route prefix " + other.RoutePrefix, other.Application}
	}
	return nil
}

// grant assigns the port and prefix of s to its application, and releases all others
// that it held.
func (l Ledger) grant(s State) {
	maps.DeleteFunc(l.Ports, func(_ int, application string) bool { return application == s.Application })
	maps.DeleteFunc(l.Prefixes, func(_ string, application string) bool { return application == s.Application })
	l.Ports[s.Port], l.Prefixes[s.RoutePrefix] = s.Application, s.Application
}

// Equal reports whether both ledgers assign the same.
func (l Ledger) Equal(other Ledger) bool {
	return maps.Equal(l.Ports, other.Ports) && maps.Equal(l.Prefixes, other.Prefixes)
}

// check returns the first error in l, or nil.
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
