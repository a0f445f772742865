package acctest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// cli is the Terraform or OpenTofu that runs the tests.
type cli struct {
	path     string
	openTofu bool
}

// findCLI returns the one that TF_ACC_TERRAFORM_PATH names, else terraform or
// tofu from PATH. It asks the program which of the two it is, once.
var findCLI = sync.OnceValues(func() (cli, error) {
	path := os.Getenv("TF_ACC_TERRAFORM_PATH")
	for _, name := range []string{"terraform", "tofu"} {
		if path == "" {
			path, _ = exec.LookPath(name)
		}
	}
	if path == "" {
		return cli{}, errors.New("neither terraform nor tofu is on PATH and TF_ACC_TERRAFORM_PATH is not set: acceptance tests need one of them")
	}
	cmd := exec.Command(path, "version")
	// A CLI configuration that does not exist puts a warning before the version.
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE="+os.DevNull)
	out, err := cmd.Output()
	if err != nil {
		return cli{}, fmt.Errorf("acceptance tests need Terraform or OpenTofu: %s version: %w", path, err)
	}
	return cli{path: path, openTofu: strings.HasPrefix(string(out), "OpenTofu")}, nil
})

// CLI returns the path of the Terraform or OpenTofu to test with, for tests
// that run it themselves.
func CLI() (path string, openTofu bool, err error) {
	c, err := findCLI()
	return c.path, c.openTofu, err
}

// setEnvironment sets what terraform-plugin-testing reads.
func (c cli) setEnvironment(t *testing.T) {
	t.Setenv("TF_ACC", "1")
	t.Setenv("TF_ACC_TERRAFORM_PATH", c.path)
	t.Setenv("TF_CLI_CONFIG_FILE", os.DevNull) // dev_overrides of the developer's own would be used in place of the test's provider
	t.Setenv("CHECKPOINT_DISABLE", "1")
	if c.openTofu {
		t.Setenv("TF_ACC_PROVIDER_HOST", "registry.opentofu.org")
		t.Setenv("TF_ACC_PROVIDER_NAMESPACE", "hashicorp")
	}
}
