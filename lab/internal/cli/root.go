//go:build linux

// Package cli implements the xeroops-lab command.
package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/lab/internal/supervisor"
)

// Exit codes. exec, shell and ssh exit with the code of the command they ran.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitDown    = 3 // the lab is not running
	exitMissing = 4 // the host lacks something that a lab needs
)

// errUsage marks errors in the command line itself.
var errUsage = errors.New("usage")

// errMissing marks errors about something that the host lacks.
var errMissing = errors.New("this host can't run a lab")

// Execute runs the command line and returns its exit code.
func Execute() int {
	err := newRoot().Execute()
	var child *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &child):
		return max(child.ExitCode(), exitFailed)
	}
	fmt.Fprintln(os.Stderr, "xeroops-lab:", err)
	switch {
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errMissing):
		return exitMissing
	case errors.Is(err, supervisor.ErrDown):
		return exitDown
	}
	return exitFailed
}

// app holds what all commands share: the configuration of the lab that the flags name.
type app struct{ config supervisor.Config }

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "xeroops-lab",
		Short: "Run an AWS stand-in on one Linux host: moto's API, backed by real Debian machines",
		Long: `xeroops-lab serves the EC2, S3, IAM and STS APIs on loopback and runs each EC2
instance as a Debian machine with its address, user data, metadata service, EBS
volumes and security groups. Terraform, Packer and other AWS clients need no
changes:

  eval "$(xeroops-lab up)"
  terraform apply
  xeroops-lab status

The lab has no route to the host's network. Its machines are containers, however:
root in a machine is root on this host, so run only code that you trust.

Exit codes: 0 success, 1 failure, 2 usage error, 3 the lab is not running, 4 the
host lacks something the lab needs. exec, shell and ssh exit with the code of the
command they run.`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			if a.config, err = a.config.Complete(); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w; see %s --help", errUsage, err, c.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.config.Name, "name", os.Getenv(cluster.EnvLabName), `name of the lab; labs with different names run side by side (default $XEROOPS_LAB_NAME, or "lab")`)
	flags.StringVar(&a.config.RunRoot, "run-dir", "", "directory for sockets and namespaces (default "+supervisor.DefaultRunRoot+")")
	flags.StringVar(&a.config.StateRoot, "state-dir", "", "directory for the machines' disks (default "+supervisor.DefaultStateRoot+")")
	root.AddCommand(a.up(), a.down(), a.status(), a.env(), a.exec(), a.shell(), a.ssh(), a.logs(), a.forward(), a.fault(), a.importImages(), a.supervise(), a.connect())
	return root
}

// exactArgs is [cobra.ExactArgs] with a usage error.
func exactArgs(n int) cobra.PositionalArgs { return args(cobra.ExactArgs(n)) }

// args wraps an argument check so that its error is a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, arguments []string) error {
		if err := check(c, arguments); err != nil {
			return fmt.Errorf("%w: %w; usage: %s", errUsage, err, c.UseLine())
		}
		return nil
	}
}

func (a *app) client() *supervisor.Client { return supervisor.NewClient(a.config) }
