//go:build linux

package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) importImages() *cobra.Command {
	return &cobra.Command{
		Use:   "import-images CONTENT_SHA256…",
		Short: "Register cached role images in the lab",
		Long: `Register role images from the cache in the lab. Images are looked up by their
xeroops:content-sha256 tag, the digest of the sources that they were built from.
The command prints the digest and the AMI id of each image found; digests that are
not in the cache are skipped.

make images calls this command. An image built in any lab is added to the cache
automatically if it has the tag.`,
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
