//go:build linux

package elements

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

// What the embed patterns miss would be missing in the image.
func TestSourceIsTheWholeLibraryWithoutItsTests(t *testing.T) {
	var embedded, tracked []string
	must(t, fs.WalkDir(Source, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			embedded = append(embedded, name)
		}
		return err
	}))
	out, err := exec.Command("git", "ls-files", "--", "*.toml", "*.md", "src").Output()
	if err != nil {
		t.Skipf("git ls-files: %v", err)
	}
	tracked = strings.Fields(string(out))
	slices.Sort(tracked)
	if slices.Sort(embedded); !slices.Equal(embedded, tracked) {
		t.Errorf("embedded: %v\ntracked: %v", embedded, tracked)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestElements(t *testing.T) {
	work := copyOf(t, ".")
	pytest(t, work, filepath.Join(work, "src"))
}

func TestSampleService(t *testing.T) {
	elements, work := copyOf(t, "."), copyOf(t, "../examples/service")
	pytest(t, work, strings.Join([]string{filepath.Join(elements, "src"), filepath.Join(elements, "tests"), filepath.Join(work, "src")}, ":"))
}

// copyOf copies a directory, so that tests can write to it.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	work := t.TempDir()
	must(t, os.CopyFS(work, os.DirFS(dir)))
	return work
}

// pytest runs the tests of a directory as the user postgres, because PostgreSQL
// refuses to run as root.
func pytest(t *testing.T, dir, pythonPath string) {
	t.Helper()
	cmd := inTree(t, dir, pythonPath, "python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", "--basetemp="+dir+"/tmp")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func inTree(t *testing.T, dir, pythonPath, name string, args ...string) *exec.Cmd {
	t.Helper()
	asPostgres := []string{"-c", `chmod 0711 "$0/.." && chown -R postgres: "$0" && exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@"`, dir, name}
	cmd := debiantree.CommandIn(t, dir, "sh", append(asPostgres, args...)...)
	cmd.Env = append(cmd.Env, "PYTHONPATH="+pythonPath, "PYTHONDONTWRITEBYTECODE=1", "HOME="+dir)
	return cmd
}
