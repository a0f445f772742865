// Package examples_test checks the examples with Terraform and the current
// provider.
package examples_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/testkit/tfcli"
)

const root = "../../../examples"

func TestExamplesAreFormatted(t *testing.T) {
	terraform := command(t, os.DevNull)
	if out, err := terraform(root, "fmt", "-check", "-diff", "-recursive").CombinedOutput(); err != nil {
		t.Errorf("terraform fmt -recursive examples would change:\n%s", out)
	}
}

// TestImagesAndClusterAreInOneRegion checks that both examples take the region of the
// environment unless it is given: with a default in one of them, the cluster would search
// images in a region where packer build made none.
func TestImagesAndClusterAreInOneRegion(t *testing.T) {
	region := regexp.MustCompile(`variable "region" \{[^}]*\n  default +=( null)\n\}`)
	for _, file := range []string{"images/variables.pkr.hcl", "complete/variables.tf"} {
		content, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if !region.Match(content) {
			t.Errorf("%s has another default of region than null, which stands for the region of the environment", file)
		}
	}
}

func TestExamplesAreValid(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "terraform-provider-xeroops"), "../..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the provider: %v\n%s", err, out)
	}
	cliConfig := filepath.Join(bin, "cli.tfrc")
	write(t, cliConfig, fmt.Sprintf("provider_installation {\n  dev_overrides { \"xeroops/xeroops\" = %q }\n  direct {}\n}\n", bin))
	terraform := command(t, cliConfig)
	copied := t.TempDir()
	if err := tfcli.CopyExamples(copied, root); err != nil {
		t.Fatal(err)
	}
	for _, dir := range directoriesWithHCL(t, copied) {
		name, err := filepath.Rel(copied, dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			if mentions(t, dir, `"hashicorp/aws"`) {
				t.Skip("it needs hashicorp/aws, which the tests do not download: only its format is checked")
			}
			validate(t, terraform, dir)
		})
	}
}

func validate(t *testing.T, terraform func(dir string, args ...string) *exec.Cmd, dir string) {
	// Import by identity needs Terraform 1.12, and the resources' own tests check
	// it. Of an import by id, only the syntax can be checked.
	imports, err := filepath.Glob(filepath.Join(dir, "import-by-*.tf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range imports {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if !mentions(t, dir, "required_providers") {
		write(t, filepath.Join(dir, "versions.tf"), "terraform {\n  required_providers {\n    xeroops = {\n      source = \"xeroops/xeroops\"\n    }\n  }\n}\n")
	}
	if out, err := terraform(dir, "get").CombinedOutput(); err != nil {
		t.Fatalf("terraform get: %v\n%s", err, out)
	}
	out, _ := terraform(dir, "validate", "-json").Output()
	var result struct {
		Valid       bool
		Diagnostics []struct{ Severity, Summary, Detail string }
	}
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("terraform validate: %v\n%s", err, out)
	}
	for _, d := range result.Diagnostics {
		if d.Severity == "error" {
			t.Errorf("%s: %s", d.Summary, d.Detail)
		}
	}
}

// command returns a function that returns a command of the Terraform or OpenTofu
// under test. It skips the test if there is none.
func command(t *testing.T, cliConfig string) func(dir string, args ...string) *exec.Cmd {
	t.Helper()
	cli, err := tfcli.Find()
	if err != nil {
		t.Skip(err)
	}
	return func(dir string, args ...string) *exec.Cmd {
		cmd := exec.Command(cli.Path, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+cliConfig, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")
		return cmd
	}
}

func directoriesWithHCL(t *testing.T, root string) []string {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if found, err := filepath.Glob(filepath.Join(path, "*.tf")); err != nil || len(found) > 0 {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil || len(dirs) == 0 {
		t.Fatalf("examples in %s: %v", root, err)
	}
	return dirs
}

// mentions reports whether a configuration in dir contains the text.
func mentions(t *testing.T, dir, text string) bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
