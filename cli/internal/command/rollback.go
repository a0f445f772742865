package command

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/cli/internal/publish"
	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
)

func (a *app) rollback() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "rollback APP [VERSION]",
		Short: "Return to an earlier version of an application on all app nodes",
		Long: `Publish the previous desired version again, or VERSION, and follow the app nodes
until they run it. Nodes keep their last versions, so nothing is built or uploaded.`,
		Example: "  xeroops rollback notes\n  xeroops rollback notes 1.4.0",
		Args:    args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, given []string) error {
			if err := bundle.CheckName(given[0]); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			d := deployment{app: a, timeout: timeout, log: c.ErrOrStderr(), out: c.OutOrStdout()}
			var err error
			if d.access, err = access.Open(c.Context(), a.settings); err != nil {
				return err
			}
			if d.client, err = d.access.Registry(c.Context(), registry.UserDeploy); err != nil {
				return err
			}
			defer d.client.Close()
			desired, err := registry.ReadDesired(c.Context(), d.client, given[0])
			if err != nil {
				return err
			}
			version := desired.Previous
			if len(given) == 2 {
				version = given[1]
			}
			switch {
			case desired.Version == "":
				return fmt.Errorf("roll back %s: cluster %s has no such application; xeroops deployments lists the applications", given[0], d.access.Cluster)
			case version == "":
				return fmt.Errorf("roll back %s: there is no version before %s; name one from the list of xeroops deployments %s", given[0], desired.Version, given[0])
			}
			if err := bundle.CheckVersion(version); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			published, found, err := publish.Find(c.Context(), d.access, given[0], version)
			if err == nil && !found {
				err = fmt.Errorf("roll back %s: version %s was never published, or is deleted; xeroops deployments %s lists the versions", given[0], version, given[0])
			}
			if err != nil {
				return err
			}
			return d.rollOut(c.Context(), published)
		},
	}
	timeoutFlag(c, &timeout)
	return c
}
