//go:build linux

package cli

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/xeroops/xeroops/lab/internal/reconcile"
)

func (a *app) status() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "List the instances of the lab",
		Args:  exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := a.client().Instances(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(c.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(all)
			}
			table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "INSTANCE\tNAME\tROLE\tADDRESS\tPUBLIC\tSTATE\tMEMORY")
			for _, i := range all {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.InstanceID, i.Node, i.Role, i.Address, i.PublicAddress, stateOf(i), memoryOf(i))
			}
			if err := table.Flush(); err != nil {
				return err
			}
			for _, i := range all {
				if i.Error != "" {
					fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n", i.InstanceID, i.Error)
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// stateOf returns the instance's state, marking a running machine that is still booting.
func stateOf(i reconcile.Status) string {
	if i.State == "running" && !i.Ready {
		return "running (booting)"
	}
	return i.State
}

func memoryOf(i reconcile.Status) string {
	if i.MemoryBytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%d MiB", i.MemoryBytes>>20)
}
