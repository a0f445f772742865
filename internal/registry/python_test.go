//go:build linux

package registry

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/pep"
)

const goodPython = `{"version": "3.13", "platform": "manylinux_2_41_x86_64", "distributions": {"fastapi": "0.115.11", "anyio": "4.8"}}`

func TestReadPythonValidatesEntries(t *testing.T) {
	c := startRedis(t)
	set := func(node, content string) {
		t.Helper()
		if err := c.Set(t.Context(), PythonKey(node), content, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	nodes := []string{"app1", "app2"}
	if _, err := ReadPython(t.Context(), c, nodes); !errors.Is(err, ErrNoPython) {
		t.Errorf("without entries: %v", err)
	}
	if _, err := ReadPython(t.Context(), c, nil); !errors.Is(err, ErrNoPython) {
		t.Errorf("without app nodes: %v", err)
	}
	set("app1", goodPython)
	if p, err := ReadPython(t.Context(), c, nodes); err != nil || p.Version != "3.13" || p.Distributions["fastapi"] != "0.115.11" {
		t.Fatalf("%+v, %v", p, err)
	}
	for name, replace := range map[string][2]string{
		"an option of pip as a name":        {`"fastapi"`, `"--find-links=http://10.0.2.20/"`},
		"an option of pip after a version":  {`0.115.11`, `0.115.11\n--no-binary=:all:\n--extra-index-url=http://10.0.2.20/`},
		"a URL as a version":                {`0.115.11`, `0.115.11 @ http://10.0.2.20/x.whl`},
		"a path as a platform":              {`manylinux_2_41_x86_64`, `../../../home/jane/.config/x`},
		"a path as a version of Python":     {`3.13`, `3.13/../..`},
		"an escape of the terminal":         {`0.115.11`, `1\u001b[2J`},
		"no platform":                       {`"platform": "manylinux_2_41_x86_64", `, ``},
		"no version":                        {`"version": "3.13", `, ``},
		"a null for a version of Python":    {`"3.13"`, `null`},
		"a null for a distribution":         {`"0.115.11"`, `null`},
		"more than anybody's distributions": {`"anyio"`, `"a": "` + strings.Repeat("1", maxPythonBytes) + `", "anyio"`},
		"no JSON":                           {`{`, ``},
	} {
		set("app2", strings.ReplaceAll(goodPython, replace[0], replace[1]))
		p, err := ReadPython(t.Context(), c, nodes)
		if err == nil || p.Version != "" || len(p.Distributions) > 0 || !strings.Contains(err.Error(), "node app2") {
			t.Errorf("%s: read %+v, %v", name, p, err)
		}
		if err != nil && (strings.ContainsRune(err.Error(), '\x1b') || len(err.Error()) > 500) {
			t.Errorf("%s: the error is %.600q", name, err)
		}
	}
	// Entries of other roles are not read.
	if _, err := ReadPython(t.Context(), c, nodes[:1]); err != nil {
		t.Errorf("another role's entry counted: %v", err)
	}
}

func TestReadPythonReturnsWhatAllImagesOffer(t *testing.T) {
	c := startRedis(t)
	write := func(node string, p Python) {
		t.Helper()
		if err := WritePython(t.Context(), c, node, p); err != nil {
			t.Fatal(err)
		}
	}
	write("app1", Python{Version: "3.13", Platform: "manylinux_2_41_x86_64", Distributions: map[pep.Name]pep.Version{"fastapi": "0.115.11", "anyio": "4.8", "gone": "1"}})
	write("app2", Python{Version: "3.13", Platform: "manylinux_2_36_x86_64", Distributions: map[pep.Name]pep.Version{"fastapi": "0.115.12", "anyio": "4.8", "new": "1"}})
	p, err := ReadPython(t.Context(), c, []string{"app1", "app2", "app3"})
	if err != nil || p.Platform != "manylinux_2_36_x86_64" || !maps.Equal(p.Distributions, map[pep.Name]pep.Version{"anyio": "4.8"}) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, other := range []Python{{Version: "3.14", Platform: "manylinux_2_41_x86_64"}, {Version: "3.13", Platform: "manylinux_2_41_aarch64"}} {
		write("app2", other)
		if p, err := ReadPython(t.Context(), c, []string{"app1", "app2"}); !errors.Is(err, ErrPythonsDiffer) {
			t.Errorf("%+v, %v", p, err)
		}
	}
}
