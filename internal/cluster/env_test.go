package cluster

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEnvironmentVariablesHaveOneName checks that env.go has the names of all
// environment variables of the project, and that Go code uses its constants.
func TestEnvironmentVariablesHaveOneName(t *testing.T) {
	source, err := os.ReadFile("env.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`"(XEROOPS_\w+)"`).FindAllSubmatch(source, -1) {
		known[string(m[1])] = true
	}
	name := regexp.MustCompile(`\bXEROOPS_[A-Z_]*[A-Z]\b`)
	literal := regexp.MustCompile(`"(XEROOPS_[A-Z_]*[A-Z])=?"`)
	root := filepath.Join("..", "..")
	for _, dir := range []string{"cli", "elements", "examples", "internal", "lab", "node", "packer-plugin", "provider", "scripts", "templates"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || path == filepath.Join(root, "internal", "cluster", "env.go") {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, n := range name.FindAllString(string(content), -1) {
				if !known[n] && !strings.HasPrefix(n, "XEROOPS_TEST_") {
					t.Errorf("%s: %s is not in env.go", path, n)
				}
			}
			if filepath.Ext(path) != ".go" {
				return nil
			}
			for _, m := range literal.FindAllStringSubmatch(string(content), -1) {
				if known[m[1]] {
					t.Errorf("%s: use the constant of env.go for %q", path, m[1])
				}
			}
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}
