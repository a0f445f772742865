//go:build linux

package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) importImages() *cobra.Command {
	return &cobra.Command{
		Use:   "import-images CONTENT…",
		Short: "Take role images that earlier labs built from the cache",
		Long: `Take role images that earlier labs built from the cache, by the sum of what they
were made of (their tag xeroops:content-sha256), and print that with the id of each
image that the cache has. make images does this; every image that is built in a lab
and has the tag goes into the cache by itself.`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, contents []string) error {
			ids, err := a.client().ImportImages(c.Context(), contents)
			if err != nil {
				return err
			}
			for _, content := range contents {
				if id := ids[content]; id != "" {
					fmt.Fprintln(c.OutOrStdout(), content, id)
				}
			}
			return nil
		},
	}
}
