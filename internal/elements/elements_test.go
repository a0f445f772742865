//go:build linux

package elements

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

const library = "../../templates/roles/app/files/usr/share/xeroops/elements"

func TestElements(t *testing.T) {
	work := copyOf(t, library)
	pytest(t, work, filepath.Join(work, "src"))
}

func TestSampleService(t *testing.T) {
	elements, work := copyOf(t, library), copyOf(t, "../../examples/service")
	pytest(t, work, strings.Join([]string{filepath.Join(elements, "src"), filepath.Join(elements, "tests"), filepath.Join(work, "src")}, ":"))
}

// copyOf copies a folder to where tests may write, since what they leave would
// become part of the image.
func copyOf(t *testing.T, folder string) string {
	t.Helper()
	work := t.TempDir()
	if err := os.CopyFS(work, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	return work
}

// pytest runs the tests of a folder as the user postgres, for PostgreSQL refuses to
// run as root.
func pytest(t *testing.T, folder, pythonPath string) {
	t.Helper()
	cmd := inTree(t, folder, pythonPath, "python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", "--basetemp="+folder+"/tmp")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func inTree(t *testing.T, folder, pythonPath, name string, args ...string) *exec.Cmd {
	t.Helper()
	asPostgres := []string{"-c", `chmod 0711 "$0/.." && chown -R postgres: "$0" && exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@"`, folder, name}
	cmd := debiantree.CommandIn(t, folder, "sh", append(asPostgres, args...)...)
	cmd.Env = append(cmd.Env, "PYTHONPATH="+pythonPath, "PYTHONDONTWRITEBYTECODE=1", "HOME="+folder)
	return cmd
}
