//go:build linux

package debiantree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommandRunsDebian13WithTheTestsFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "greeting"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := CommandIn(t, dir, "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME $(cat greeting)").CombinedOutput()
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
