package lint

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository's root, as seen from this package.
const root = "../.."

// readable are the files that the lint reads.
var readable = []string{"*.go", "*.md", "*.tmpl", "*.sh", "*.py", "*.tf", "*.hcl", "*.lua", "*.yml", "*.toml", "*.json", "*.html", "*.sql",
	"*.conf", "*.service", "*.socket", "*.target", "*.path", "*.nft", "*.rules", "*.cfg", "GNUmakefile", ".ci/run"}

// source returns the paths of all files that git would commit, relative to
// [root]. Tests are skipped in a copy of the sources without git.
func source(t *testing.T, patterns ...string) []string {
	t.Helper()
	args := append([]string{"ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"}, patterns...)
	cmd := exec.Command("git", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("list the repository's files: %v", err)
	}
	var paths []string
	for path := range strings.SplitSeq(string(out), "\x00") {
		if info, err := os.Lstat(filepath.Join(root, path)); path != "" && err == nil && info.Mode().IsRegular() {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		t.Fatalf("git lists no file for %q", patterns)
	}
	return paths
}
