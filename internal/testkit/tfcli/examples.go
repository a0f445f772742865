package tfcli

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CopyExamples copies a directory without files that Terraform and Packer wrote there:
// modules, state and image ids.
func CopyExamples(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch name := e.Name(); {
		case name == ".terraform":
			return fs.SkipDir
		case name == ".terraform.lock.hcl" || strings.HasPrefix(name, "terraform.tfstate") || strings.Contains(name, ".auto.tfvars"):
			return nil
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), content, 0o644) //nolint:gosec // examples are world-readable
	})
}
