package configure

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/templates"
)

// Command returns `xeroops-node configure --sample ROLE DIR`, which image builds
// and tests use to check rendered configuration with the services' own checkers.
func Command() *cobra.Command {
	var sample string
	command := &cobra.Command{
		Use:   "configure --sample ROLE DIR",
		Short: "Render a role's configuration with sample data below DIR and list the files",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if sample == "" {
				return errors.New("--sample ROLE is required; a node's own configuration is rendered by xeroops-node boot")
			}
			role, err := cluster.ParseRole(sample)
			if err != nil {
				return err
			}
			files, err := RenderSample(role, args[0])
			for _, f := range files {
				_, _ = fmt.Fprintln(c.OutOrStdout(), f.Path)
			}
			return err
		},
	}
	command.Flags().StringVar(&sample, "sample", "", "role to render with sample data")
	return command
}

// RenderSample renders the role's templates with sample data and writes them
// below dir. If dir is /, it sets owners as boot does: for a copy of a node's
// files in which services are started.
func RenderSample(role cluster.Role, dir string) ([]File, error) {
	d, err := Sample(role)
	if err != nil {
		return nil, err
	}
	files, err := Render(templates.Files, d)
	for _, f := range files {
		write := func() error { return f.WriteBelow(dir) }
		if dir == "/" {
			write = f.Write
		}
		err = errors.Join(err, write())
	}
	return files, err
}
