// Package tfcli is what tests run Terraform with: the Terraform or OpenTofu there
// is, and a copy of the examples.
package tfcli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// CLI is a Terraform or OpenTofu.
type CLI struct {
	Path     string
	OpenTofu bool
}

// Find returns the one that TF_ACC_TERRAFORM_PATH names, else terraform or
// tofu from PATH. It asks the program which of the two it is, once.
var Find = sync.OnceValues(func() (CLI, error) {
	path := os.Getenv("TF_ACC_TERRAFORM_PATH")
	for _, name := range []string{"terraform", "tofu"} {
		if path == "" {
			path, _ = exec.LookPath(name)
		}
	}
	if path == "" {
		return CLI{}, errors.New("neither terraform nor tofu is on PATH and TF_ACC_TERRAFORM_PATH is not set: these tests need one of them")
	}
	cmd := exec.Command(path, "version")
	// A CLI configuration that does not exist puts a warning before the version.
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE="+os.DevNull)
	out, err := cmd.Output()
	if err != nil {
		return CLI{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	return CLI{Path: path, OpenTofu: strings.HasPrefix(string(out), "OpenTofu")}, nil
})
