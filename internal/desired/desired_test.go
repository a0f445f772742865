package desired

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	sum   = strings.Repeat("ab", 32)
	since = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
)

func state(application, version string, port int, prefix string) State {
	return State{Schema: Schema, Application: application, Version: version, SHA256: sum, RoutePrefix: prefix, Port: port, Since: since, By: "user/jane"}
}

// object is a state that S3 took seconds after since.
func object(application string, port int, prefix string, seconds int) Object {
	return Object{State: state(application, "1.0", port, prefix), Modified: since.Add(time.Duration(seconds) * time.Second)}
}

func objects(all ...Object) map[string]Object {
	m := map[string]Object{}
	for _, o := range all {
		m[o.Application] = o
	}
	return m
}

func TestDecodeTakesNothingElse(t *testing.T) {
	good, err := json.Marshal(state("notes", "1.0", 8001, "/api/notes"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Decode("notes", good); err != nil || s != state("notes", "1.0", 8001, "/api/notes") {
		t.Fatalf("%+v, %v", s, err)
	}
	for name, replace := range map[string][2]string{
		"another application":     {`"application":"notes"`, `"application":"orders"`},
		"another schema":          {`"schema":1`, `"schema":2`},
		"no schema":               {`"schema":1,`, ``},
		"a path as a version":     {`"version":"1.0"`, `"version":"../../etc"`},
		"a path as the previous":  {`"route_prefix"`, `"previous":"..","route_prefix"`},
		"a short sum":             {sum, sum[1:]},
		"a sum in upper case":     {sum, strings.ToUpper(sum)},
		"a port of the system":    {`8001`, `22`},
		"a port as text":          {`8001`, `"8001"`},
		"a prefix of everything":  {`/api/notes`, `/api/`},
		"a prefix outside of api": {`/api/notes`, `/admin`},
		"HAProxy's configuration": {`/api/notes`, `/api/notes }\n backend x`},
		"a long name":             {`user/jane`, strings.Repeat("x", maxByBytes+1)},
		"no time":                 {`"2026-05-04T12:00:00Z"`, `"0001-01-01T00:00:00Z"`},
		"another field":           {`"by"`, `"root":true,"by"`},
		"two values":              {`}`, `}{}`},
		"an array":                {string(good), `[]`},
		"null":                    {string(good), `null`},
		"nothing":                 {string(good), ``},
	} {
		if s, err := Decode("notes", []byte(strings.ReplaceAll(string(good), replace[0], replace[1]))); err == nil || s != (State{}) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	good, err := json.Marshal(state("notes", "1.0", 8001, "/api/notes"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := Decode("notes", content)
		if err != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if s2, err := Decode("notes", again); err != nil || !s2.Since.Equal(s.Since) {
			t.Fatalf("%q became %q: %v", content, again, err)
		}
	})
}

// assign is Assign from an empty ledger through one listing after another.
func assign(listings ...map[string]Object) (Ledger, map[string]error) {
	var l Ledger
	var refused map[string]error
	for _, objects := range listings {
		l, refused = Assign(l, objects, nil)
	}
	return l, refused
}

func TestWhoeverWasFirstHoldsPortAndPrefix(t *testing.T) {
	orders := object("orders", 8001, "/api/orders", 5)
	for name, c := range map[string]struct {
		listings []map[string]Object
		refused  string // application
		what     string
		by       string
	}{
		"the port, by the order of S3": {
			[]map[string]Object{objects(object("aaa", 8001, "/api/aaa", 6), orders)}, "aaa", "port 8001", "orders"},
		"the prefix, by the order of S3": {
			[]map[string]Object{objects(object("aaa", 8002, "/api/orders", 6), orders)}, "aaa", "route prefix /api/orders", "orders"},
		"and not of the alphabet": {
			[]map[string]Object{objects(object("zzz", 8001, "/api/zzz", 4), orders)}, "orders", "port 8001", "zzz"},
		"a newcomer whose object is older than the holder's last deployment": {
			[]map[string]Object{objects(orders), objects(object("aaa", 8002, "/api/orders", 8), object("orders", 8001, "/api/orders", 9))}, "aaa", "route prefix /api/orders", "orders"},
		"an older application that moves to the prefix of a younger one": {
			[]map[string]Object{objects(object("aaa", 8002, "/api/aaa", 1), orders), objects(object("aaa", 8002, "/api/orders", 9), orders)}, "aaa", "route prefix /api/orders", "orders"},
		"a part of a prefix": {
			[]map[string]Object{objects(orders, object("aaa", 8002, "/api/orders/pay", 9))}, "aaa", "route prefix /api/orders", "orders"},
		"what is above a prefix": {
			[]map[string]Object{objects(object("aaa", 8002, "/api/shop/orders", 1), object("orders", 8001, "/api/shop", 5))}, "orders", "route prefix /api/shop/orders", "aaa"},
	} {
		l, refused := assign(c.listings...)
		var taken *TakenError
		if len(refused) != 1 || !errors.As(refused[c.refused], &taken) || *taken != (TakenError{c.refused, c.what, c.by}) {
			t.Errorf("%s: refused %v", name, refused)
		}
		for application, o := range c.listings[len(c.listings)-1] {
			if err := l.Check(o.State); (err == nil) != (application != c.refused) {
				t.Errorf("%s: %s: %v", name, application, err)
			}
		}
	}
}

func TestADeployersClockDecidesNothing(t *testing.T) {
	attack := object("aaa", 8001, "/api/orders", 6)
	attack.Since = time.Unix(0, 0)
	if _, refused := assign(objects(object("orders", 8001, "/api/orders", 5), attack)); refused["aaa"] == nil || refused["orders"] != nil {
		t.Errorf("refused %v", refused)
	}
}

func TestNeitherOfTwoInOneSecondIsFirst(t *testing.T) {
	a, b := object("aaa", 8001, "/api/aaa", 5), object("bbb", 8001, "/api/bbb", 5)
	both := objects(a, b, object("ccc", 8003, "/api/ccc", 5))
	l, refused := assign(both)
	if len(refused) != 2 || l.Check(a.State) == nil || l.Check(b.State) == nil || l.Ports[8003] != "ccc" {
		t.Fatalf("%+v, refused %v", l, refused)
	}
	b.Port, b.Modified = 8002, b.Modified.Add(time.Minute) // as the error says
	if l, refused = Assign(l, objects(a, b), nil); len(refused) > 0 || l.Check(a.State) != nil || l.Check(b.State) != nil {
		t.Errorf("%+v, refused %v", l, refused)
	}
}

func TestWhatIsHeldIsReleasedInTime(t *testing.T) {
	before, _ := assign(objects(object("notes", 8001, "/api/notes", 1), object("orders", 8002, "/api/orders", 2)))
	for name, c := range map[string]struct {
		objects    map[string]Object
		unreadable []string
		ports      map[int]string
		refused    int
	}{
		"nothing changed":   {objects(object("notes", 8001, "/api/notes", 1), object("orders", 8002, "/api/orders", 2)), nil, map[int]string{8001: "notes", 8002: "orders"}, 0},
		"one is gone":       {objects(object("orders", 8002, "/api/orders", 2)), nil, map[int]string{8002: "orders"}, 0},
		"one is unreadable": {objects(object("orders", 8002, "/api/orders", 2)), []string{"notes"}, map[int]string{8001: "notes", 8002: "orders"}, 0},
		"one moved":         {objects(object("notes", 8003, "/api/notes", 9), object("orders", 8002, "/api/orders", 2)), nil, map[int]string{8003: "notes", 8002: "orders"}, 0},
		"one wants to move to the other's": {objects(object("notes", 8002, "/api/notes", 9), object("orders", 8002, "/api/orders", 2)), nil,
			map[int]string{8001: "notes", 8002: "orders"}, 1},
		"they want to swap": {objects(object("notes", 8002, "/api/notes", 9), object("orders", 8001, "/api/orders", 10)), nil,
			map[int]string{8001: "notes", 8002: "orders"}, 2},
		"its successor takes over what is gone": {objects(object("notes-2", 8001, "/api/notes", 9), object("orders", 8002, "/api/orders", 2)), nil,
			map[int]string{8001: "notes-2", 8002: "orders"}, 0},
	} {
		after, refused := Assign(before, c.objects, c.unreadable)
		if !maps.Equal(after.Ports, c.ports) || len(refused) != c.refused || len(after.Prefixes) != len(after.Ports) {
			t.Errorf("%s: %+v, refused %v", name, after, refused)
		}
	}
	if before.Ports[8001] != "notes" || len(before.Ports) != 2 {
		t.Error("Assign changed what it was given")
	}
}

func TestNothingRunsBeforeItIsAssigned(t *testing.T) {
	s := state("notes", "1.0", 8001, "/api/notes")
	if err := (Ledger{}).Check(s); !errors.Is(err, ErrUnassigned) {
		t.Errorf("got %v", err)
	}
	l, _ := assign(objects(object("notes", 8001, "/api/notes", 1)))
	s.Port = 8002
	if err := l.Check(s); !errors.Is(err, ErrUnassigned) {
		t.Errorf("on another port: %v", err)
	}
}

// TestTheOrderOfAListingDecidesNothing assigns a hundred applications that compete
// for few ports and prefixes, and compares with a run in which names are reversed.
func TestTheOrderOfAListingDecidesNothing(t *testing.T) {
	const n = 100
	forward, backward := map[string]Object{}, map[string]Object{}
	name := func(i int) string { return fmt.Sprintf("a%02d", i) }
	for i := range n {
		o := object(name(i), 8000+i*7%13, fmt.Sprintf("/api/p%d", i*11%17), i/2)
		forward[o.Application] = o
		o.Application = name(n - 1 - i)
		backward[o.Application] = o
	}
	one, refused := Assign(Ledger{}, forward, nil)
	two, _ := Assign(Ledger{}, backward, nil)
	if len(refused) == 0 || len(one.Ports) == 0 {
		t.Fatal("the case has no conflicts, or nothing else")
	}
	for port, application := range one.Ports {
		var i int
		if _, err := fmt.Sscanf(application, "a%d", &i); err != nil {
			t.Fatal(err)
		}
		if two.Ports[port] != name(n-1-i) {
			t.Errorf("port %d: %s, with other names %s", port, application, two.Ports[port])
		}
	}
	held := slices.Collect(maps.Keys(one.Prefixes))
	for i, a := range held {
		for _, b := range held[i+1:] {
			if overlap(a, b) {
				t.Errorf("%s and %s are both held", a, b)
			}
		}
	}
}
