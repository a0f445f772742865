//go:build linux

package debiantree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProgramsAreDebian13sAndSeeTheTestsFiles(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "greeting"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := CommandIn(t, folder, "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME $(cat greeting)").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "trixie hello" {
		t.Errorf("got %q, %v", out, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), Path(t)+"/tmp") {
		t.Error("a mount of the tree is left in the host's namespace")
	}
}
