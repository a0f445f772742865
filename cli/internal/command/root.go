// Package command is what somebody who operates a cluster types.
package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/aws/smithy-go"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/cli/internal/printable"
	"github.com/xeroops/xeroops/cli/internal/project"
	"github.com/xeroops/xeroops/cli/internal/wheel"
	"github.com/xeroops/xeroops/internal/cluster"
)

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitMissing     = 4
	exitIncomplete  = 5
	exitInterrupted = 130 // what shells say of SIGINT
)

var (
	// errUsage marks mistakes in how a command was called.
	errUsage = errors.New("usage")
	// errIncomplete marks a deployment that not every app node has taken up.
	errIncomplete = errors.New("not every app node runs it")
)

// Execute runs the command line and returns its exit code.
func Execute(version string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // who interrupts twice means it
	redis.SetLogger(silence{})   // what it would say is in the errors
	return run(ctx, newRoot(version))
}

func run(ctx context.Context, root *cobra.Command) int {
	root.SetOut(printable.NewWriter(root.OutOrStdout()))
	root.SetErr(printable.NewWriter(root.ErrOrStderr()))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, access.ErrUnreachable) {
		err = errors.New("interrupted") // it was not the cluster's fault
	}
	fmt.Fprintln(root.ErrOrStderr(), "xeroops:", err)
	switch {
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.Is(err, errUsage), errors.Is(err, project.ErrInvalid):
		return exitUsage
	case errors.Is(err, wheel.ErrMissing):
		return exitMissing
	case errors.Is(err, errIncomplete):
		return exitIncomplete
	case errors.Is(err, access.ErrUnreachable), errors.As(err, new(*smithy.OperationError)):
		return exitUnreachable
	}
	return exitFailed
}

// silence is a logger of go-redis.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// app is what all commands share.
type app struct {
	settings access.Settings
	json     bool
}

func newRoot(version string) *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:     "xeroops",
		Short:   "Deploy applications to a XeroOps cluster, and see how it is",
		Version: version,
		Long: `xeroops deploys applications to a cluster and shows how it is. It needs AWS
credentials that may read the cluster's part of the uploads bucket and write
wheels/ in it, and a way to the management node: the cluster's VPN, or a command
given by --via.

Exit codes: 0 done, 1 failed, 2 wrong usage or an invalid project, 3 the cluster
can't be reached, 4 this machine lacks something, 5 not every app node runs the
version, 130 interrupted.`,
		Args:          known,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true, SilenceUsage: true,
		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w; see %s --help", errUsage, err, c.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.settings.Cluster, "cluster", os.Getenv(cluster.EnvCluster), "the cluster's name (default $XEROOPS_CLUSTER, or the only one of the bucket)")
	flags.StringVar(&a.settings.UploadsBucket, "uploads-bucket", os.Getenv(cluster.EnvUploadsBucket), "the cluster's bucket (default $XEROOPS_UPLOADS_BUCKET, or uploads-ACCOUNT)")
	flags.StringVar(&a.settings.Region, "region", "", "AWS region (default that of AWS's own configuration)")
	flags.StringVar(&a.settings.Via, "via", os.Getenv(cluster.EnvVia), `command whose standard input and output are the connection to the registry, as ssh's ProxyCommand: %h is the host, %p the port (default $XEROOPS_VIA, or TCP over the VPN)`)
	flags.BoolVar(&a.json, "json", false, "print the outcome as JSON; progress goes to standard error")
	root.AddCommand(a.deploy(), a.rollback(), a.status(), a.deployments())
	return root
}

// known is called with what is no command of root's.
func known(root *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	hint := "see " + root.CommandPath() + " --help"
	if near := root.SuggestionsFor(given[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("%w: there is no command %q; %s", errUsage, given[0], hint)
}

// args is cobra's check, with an error that counts as wrong usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if err := check(c, given); err != nil {
			return fmt.Errorf("%w: %w; it is: %s", errUsage, err, c.UseLine())
		}
		return nil
	}
}

func printJSON(out io.Writer, content any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(content)
}
