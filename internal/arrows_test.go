// Package internal_test keeps the arrows between the rooms of docs/design.md#components.
package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/xeroops/xeroops/"

// mayImport says what each room may import of the project, besides itself. A
// room that is not here may be imported by none and import none.
var mayImport = map[string][]string{
	"provider":      {"internal", "templates"},
	"packer-plugin": {"internal", "templates"},
	"node":          {"internal", "templates"},
	"cli":           {"internal", "templates"},
	"lab":           {"internal", "templates"},
	"internal":      {"templates"},
	"scripts":       {"internal", "templates"},
	"templates":     {},
}

func TestArrowsBetweenRooms(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go list: %v\n%s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	packages := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			from, to := room(p.ImportPath), room(imported)
			if to == "" || from == to || slices.Contains(mayImport[from], to) {
				continue
			}
			t.Errorf("%s imports %s: %s may import only %v (docs/design.md#components)", p.ImportPath, imported, from, mayImport[from])
		}
	}
}

// room is the top folder of a package of the project, or "" for another's.
func room(importPath string) string {
	path, ours := strings.CutPrefix(importPath, module)
	if !ours {
		return ""
	}
	name, _, _ := strings.Cut(path, "/")
	return name
}
