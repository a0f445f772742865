package registry

import (
	"strings"
	"testing"
)

func TestANodesEntryIsParsed(t *testing.T) {
	const good = `{"schema":1,"name":"app1","role":"app","state":"ready","applications":[{"name":"shop","port":8000,"state":"running"}]}`
	if n, err := parseNode("app1", good); err != nil || n.State != NodeReady || n.Applications[0].Port != 8000 {
		t.Fatalf("%+v, %v", n, err)
	}
	for name, replace := range map[string][2]string{
		"of another node":              {`"app1"`, `"app2"`},
		"of no role":                   {`"role":"app"`, `"role":"root"`},
		"in no state":                  {`"ready"`, `"ready\u001b[2J"`},
		"an application in no state":   {`"running"`, `""`},
		"more than any node has":       {`"schema":1`, `"x":"` + strings.Repeat("x", maxEntryBytes) + `"`},
		"a port that is not a number":  {`8000`, `"8000"`},
		"a port that no integer holds": {`8000`, `1e99`},
	} {
		if n, err := parseNode("app1", strings.Replace(good, replace[0], replace[1], 1)); err == nil || n.Name != "" {
			t.Errorf("%s: %+v, %v", name, n, err)
		} else if len(err.Error()) > 300 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: the error is %.400q", name, err)
		}
	}
}

func TestANodesProgressIsParsed(t *testing.T) {
	const good = `{"node":"app1","phase":"failed","error":"it failed","running":"1.0"}`
	if p, err := parseProgress("app1", good); err != nil || p.Phase != PhaseFailed {
		t.Fatalf("%+v, %v", p, err)
	}
	for name, replace := range map[string][2]string{
		"of another node": {`"app1"`, `"app2"`},
		"in no phase":     {`"failed"`, `"healthy "`},
		"a path":          {`"1.0"`, `"../1.0"`},
	} {
		if p, err := parseProgress("app1", strings.Replace(good, replace[0], replace[1], 1)); err == nil || p.Node != "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
