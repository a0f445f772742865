// Package tfcli finds Terraform or OpenTofu for tests, and copies the examples.
package tfcli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// CLI is an installed Terraform or OpenTofu.
type CLI struct {
	Path     string
	OpenTofu bool
}

// Find returns the program that TF_ACC_TERRAFORM_PATH names, or else terraform or tofu
// from PATH. The result is cached.
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
		return CLI{}, fmt.Errorf("run %s version: %w", path, err)
	}
	return CLI{Path: path, OpenTofu: strings.HasPrefix(string(out), "OpenTofu")}, nil
})
