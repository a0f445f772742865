//go:build linux

// Package cli is what somebody who uses the lab types.
package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
	"github.com/xeroops/xeroops/lab/internal/supervisor"
)

// Exit codes. A command run by exec, shell or ssh gives its own.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitDown    = 3 // the lab is not running
	exitMissing = 4 // this host can't run a lab as it is
)

// errUsage marks mistakes in how a command was called.
var errUsage = errors.New("usage")

// errMissing marks what the host lacks.
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

// app is what all commands share: the lab that the flags name.
type app struct{ config supervisor.Config }

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "xeroops-lab",
		Short: "A stand-in for AWS on one Linux host: moto's API with real Debian machines behind it",
		Long: `xeroops-lab answers the EC2, S3, IAM and STS API on loopback and makes each
instance a Debian machine with its address, user-data, metadata service, volumes
and security groups. Terraform, Packer and every AWS client use it unchanged:

  eval "$(xeroops-lab up)"
  terraform apply
  xeroops-lab status

Nothing that runs in the lab can reach the host's network. Root in a machine of
the lab is root on this host: run nothing in it that you would not run here.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the lab is not running, 4 this
host lacks something; exec, shell and ssh give the command's own.`,
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
	flags.StringVar(&a.config.Name, "name", os.Getenv("XEROOPS_LAB_NAME"), `the lab's name, so that several can run beside one another (default "lab", or $XEROOPS_LAB_NAME)`)
	flags.StringVar(&a.config.RunRoot, "run-dir", "", "folder for sockets and namespaces (default "+supervisor.DefaultRunRoot+")")
	flags.StringVar(&a.config.StateRoot, "state-dir", "", "folder for the machines' disks (default "+supervisor.DefaultStateRoot+")")
	root.AddCommand(a.up(), a.down(), a.status(), a.env(), a.exec(), a.shell(), a.ssh(), a.logs(), a.forward(), a.fault(), a.importImages(), a.supervise(), a.connect())
	return root
}

// exactArgs is cobra's, with an error that counts as wrong usage.
func exactArgs(n int) cobra.PositionalArgs { return args(cobra.ExactArgs(n)) }

func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if err := check(c, given); err != nil {
			return fmt.Errorf("%w: %w; it is: %s", errUsage, err, c.UseLine())
		}
		return nil
	}
}

func (a *app) client() *supervisor.Client { return supervisor.NewClient(a.config) }
