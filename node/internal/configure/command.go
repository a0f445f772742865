package configure

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/templates"
)

// Command is `xeroops-node configure --sample ROLE DIR`, with which an image or
// a test checks what the templates come to, each with the service's own checker.
func Command() *cobra.Command {
	var sample string
	command := &cobra.Command{
		Use:   "configure --sample ROLE DIR",
		Short: "Render a role's configuration with made-up data below DIR and list the files",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if sample == "" {
				return errors.New("say which role with --sample; a node's own configuration is rendered by xeroops-node boot")
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
	command.Flags().StringVar(&sample, "sample", "", "role to make data up for")
	return command
}

// RenderSample writes what the role's templates come to with made-up data
// below a folder. Where that is /, the files are written as boot writes them, with
// their owners: for a copy of a node's files, in which the services are tried.
func RenderSample(role cluster.Role, folder string) ([]File, error) {
	d, err := Sample(role)
	if err != nil {
		return nil, err
	}
	files, err := Render(templates.Config, d)
	for _, f := range files {
		write := func() error { return f.WriteBelow(folder) }
		if folder == "/" {
			write = f.Write
		}
		err = errors.Join(err, write())
	}
	return files, err
}
