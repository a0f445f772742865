// Package command is the operator's command line.
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
	"github.com/xeroops/xeroops/cli/internal/project"
	"github.com/xeroops/xeroops/cli/internal/wheel"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/printable"
)

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitMissing     = 4
	exitIncomplete  = 5
	exitInterrupted = 130 // the shells' exit code for SIGINT
)

var (
	// errUsage marks wrong arguments and flags.
	errUsage = errors.New("usage")
	// errIncomplete marks a deployment that does not run on every app node.
	errIncomplete = errors.New("not every app node runs the version")
)

// Execute runs the command line and returns its exit code.
func Execute(version string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	redis.SetLogger(silence{})   // the errors have the same content
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
		err = errors.New("interrupted") // the cluster is not unreachable
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

// silence is a go-redis logger that discards everything.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// app has the settings that all commands share.
type app struct {
	settings access.Settings
	json     bool
}

func newRoot(version string) *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:     "xeroops",
		Short:   "Deploy applications to a XeroOps cluster and show its state",
		Version: version,
		Long: `xeroops deploys applications to a cluster and shows its state. It needs AWS
credentials that may read the cluster's objects in the uploads bucket and write
below wheels/, and a connection to the management node: the cluster's VPN, or a
command given with --via.

Exit codes: 0 success, 1 failure, 2 invalid usage or project, 3 the cluster is
unreachable, 4 a program is missing on this machine, 5 not every app node runs the
version, 130 interrupted.`,
		Args:          knownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true, SilenceUsage: true,
		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w; see %s --help", errUsage, err, c.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.settings.Cluster, "cluster", os.Getenv(cluster.EnvCluster), "name of the cluster (default $XEROOPS_CLUSTER, or the only cluster in the bucket)")
	flags.StringVar(&a.settings.UploadsBucket, "uploads-bucket", os.Getenv(cluster.EnvUploadsBucket), "uploads bucket (default $XEROOPS_UPLOADS_BUCKET, or uploads-ACCOUNT)")
	flags.StringVar(&a.settings.Region, "region", "", "AWS region (default from the AWS configuration)")
	flags.StringVar(&a.settings.Via, "via", os.Getenv(cluster.EnvVia), `command whose standard input and output are the connection to the registry, like ssh's ProxyCommand; %h is the host, %p the port (default $XEROOPS_VIA, or TCP over the VPN)`)
	flags.BoolVar(&a.json, "json", false, "print the result as JSON; progress goes to standard error")
	root.AddCommand(a.deploy(), a.rollback(), a.status(), a.deployments())
	return root
}

// knownCommand returns an error for arguments that are not a command of root.
func knownCommand(root *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	hint := "see " + root.CommandPath() + " --help"
	if near := root.SuggestionsFor(given[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("%w: unknown command %q; %s", errUsage, given[0], hint)
}

// args wraps the errors of a cobra check as wrong usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if err := check(c, given); err != nil {
			return fmt.Errorf("%w: %w; usage: %s", errUsage, err, c.UseLine())
		}
		return nil
	}
}

func printJSON(out io.Writer, content any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(content)
}
