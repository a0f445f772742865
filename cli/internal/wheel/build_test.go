//go:build linux

package wheel

import (
	"archive/zip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

// debiansWheels has setuptools, for Debian's own Python.
const debiansWheels = "/usr/share/python-wheels"

func TestBuildLeavesTheProjectAsItIsAndIsReproducible(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	python, err := FindPython(t.Context())
	if found, _ := filepath.Glob(debiansWheels + "/setuptools-*"); err != nil || len(found) == 0 {
		t.Skip("needs Debian's python3-pip, python3-setuptools-whl and, before Debian 13, python3-wheel-whl: make setup")
	}
	t.Run("pip", func(t *testing.T) { checkBuild(t, python) })
	t.Run("build", func(t *testing.T) { checkBuild(t, withBuild(t, python)) })
}

// withBuild returns a Python with Debian's package build.
func withBuild(t *testing.T, python Python) Python {
	t.Helper()
	dir, tree := t.TempDir(), debiantree.Path(t)
	for _, name := range []string{"build", "pyproject_hooks", "packaging"} {
		if err := os.Symlink(filepath.Join(tree, "usr/lib/python3/dist-packages", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	python = append(Python{"env", "PYTHONPATH=" + dir}, python...)
	if builder := builder(t.Context(), python, "", "").String(); !strings.Contains(builder, "-m build") {
		t.Fatalf("the builder is %s", builder)
	}
	return python
}

func checkBuild(t *testing.T, python Python) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../../examples/service")); err != nil {
		t.Fatal(err)
	}
	// A module of the project with the name of one of the standard library.
	if err := os.WriteFile(filepath.Join(dir, "tempfile.py"), []byte("raise SystemExit('imported from the project')\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	build := func() Built {
		built, err := Build(t.Context(), python, dir, debiansWheels, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return built
	}
	first, second := build(), build()
	if first.Name != "notes" || first.Version != "1.0.0" || first.CheckApp("notes.main:app") != nil || !has(t, first, "notes/migrations/0001_notes.sql") {
		t.Errorf("built %+v", first)
	}
	// Leftovers would put removed modules into the next wheel.
	if after := tree(t, dir); !slices.Equal(after, before) {
		t.Errorf("the project has %v, had %v", after, before)
	}
	one, err := os.ReadFile(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(second.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(one, two) {
		t.Error("two builds of the same project differ")
	}
}

func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func has(t *testing.T, b Built, file string) bool {
	t.Helper()
	archive, err := zip.OpenReader(b.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	return slices.ContainsFunc(archive.File, func(f *zip.File) bool { return f.Name == file })
}
