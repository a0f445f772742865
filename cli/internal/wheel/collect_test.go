package wheel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/pep"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/wheelfile"
)

var image = registry.Python{Version: "3.13", Platform: "manylinux_2_41_x86_64", Distributions: map[pep.Name]pep.Version{
	"fastapi": "0.115.11", "typing-extensions": "4.13.2",
}}

// tiny writes a wheel with nothing but its metadata.
func tiny(t *testing.T, dir, name, version, tag string, requires ...string) string {
	t.Helper()
	metadata := "Requires-Python: >=3.13\n"
	for _, r := range requires {
		metadata += "Requires-Dist: " + r + "\n"
	}
	file, content := wheelfile.Wheel{Name: name, Version: version, Tag: tag, Metadata: metadata}.Make()
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCollectLeavesOutTheImagesDistributions(t *testing.T) {
	python, err := FindPython(t.Context())
	if err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		name   string
		needs  []string
		house  func(t *testing.T, house string)
		want   []string // besides the application's own
		failed string
	}{
		{"nothing but what the image has", []string{"fastapi>=0.110", "Typing.Extensions"}, nil, nil, ""},
		{"an extra of what the image has", []string{"fastapi[standard]"}, nil, nil, ""},
		{"what a dependency depends on", []string{"a"}, func(t *testing.T, house string) {
			tiny(t, house, "a", "2.0", wheelfile.PurePython, "b<2", "fastapi")
			tiny(t, house, "b", "1.9", wheelfile.PurePython)
			tiny(t, house, "b", "2.1", wheelfile.PurePython)
		}, []string{"a-2.0-py3-none-any.whl", "b-1.9-py3-none-any.whl"}, ""},
		{"the image's version, though there is a newer one", []string{"fastapi"}, func(t *testing.T, house string) {
			tiny(t, house, "fastapi", "0.200", wheelfile.PurePython)
			tiny(t, house, "fastapi", "0.115.11", "cp313-cp313-manylinux_2_41_x86_64")
		}, nil, ""},
		{"a newer version than the image's", []string{"fastapi>=0.200"}, func(t *testing.T, house string) {
			tiny(t, house, "fastapi", "0.200", wheelfile.PurePython)
		}, nil, "packages of the image are available in the image's version only"},
		{"older C libraries, and not other systems or Pythons", []string{"c"}, func(t *testing.T, house string) {
			tiny(t, house, "c", "1.0", "cp313-cp313-manylinux2014_x86_64")
			tiny(t, house, "c", "1.1", "cp313-cp313-macosx_11_0_arm64")
			tiny(t, house, "c", "1.2", "cp312-cp312-manylinux_2_17_x86_64")
			tiny(t, house, "c", "1.3", "cp313-cp313-manylinux_2_42_x86_64")
			tiny(t, house, "c", "1.4", "cp313-cp313-win_amd64")
		}, []string{"c-1.0-cp313-cp313-manylinux2014_x86_64.whl"}, ""},
		{"the stable ABI of an older Python", []string{"c"}, func(t *testing.T, house string) {
			tiny(t, house, "c", "1.0", "cp39-abi3-manylinux_2_17_x86_64")
		}, []string{"c-1.0-cp39-abi3-manylinux_2_17_x86_64.whl"}, ""},
		{"markers of the image, not of this machine", []string{
			"a; python_version >= '3.13' and sys_platform == 'linux' and platform_machine == 'x86_64'",
			"nowhere; python_version < '3.13' or sys_platform == 'darwin' or platform_machine == 'arm64'",
		}, func(t *testing.T, house string) { tiny(t, house, "a", "1.0", wheelfile.PurePython) }, []string{"a-1.0-py3-none-any.whl"}, ""},
		{"a package that does not exist", []string{"nowhere"}, nil, nil, "No matching distribution found for nowhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source, house, into := t.TempDir(), t.TempDir(), t.TempDir()
			own := tiny(t, source, "notes", "1.0", wheelfile.PurePython, c.needs...)
			if c.house != nil {
				c.house(t, house)
			}
			err := Collect(t.Context(), python, image, Built{Path: own, Name: "notes", Version: "1.0"}, house, into)
			if c.failed != "" {
				if err == nil || !strings.Contains(err.Error(), c.failed) {
					t.Fatalf("got %v, want %q", err, c.failed)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(into)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, e.Name())
			}
			want := append([]string{"notes-1.0-py3-none-any.whl"}, c.want...)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("collected %v, want %v", got, want)
			}
		})
	}
}

func TestCheckAppFindsTheModule(t *testing.T) {
	file, content := wheelfile.Wheel{Name: "notes", Version: "1.0", Tag: wheelfile.PurePython, Files: map[string]string{
		"notes/main.py": "", "notes/sub/__init__.py": "", "notes/fast.cpython-313-x86_64-linux-gnu.so": "",
	}}.Make()
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for app, found := range map[string]bool{
		"notes.main:app": true, "notes.sub:app": true, "notes.fast:app": true,
		"notes.mai:app": false, "main:app": false, "note:app": false,
	} {
		if err := (Built{Path: path}).CheckApp(app); (err == nil) != found {
			t.Errorf("%s: %v", app, err)
		}
	}
}
