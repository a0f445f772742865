//go:build linux

package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"

	"github.com/spf13/cobra"
	"github.com/xeroops/xeroops/lab/internal/reconcile"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

// find returns the instance of a node's name, an address or an instance id.
func (a *app) find(ctx context.Context, name string) (reconcile.Status, error) {
	all, err := a.client().Instances(ctx)
	if err != nil {
		return reconcile.Status{}, err
	}
	var known []string
	for _, i := range all {
		if i.InstanceID == name || (i.Node == name || i.Address == name) && i.State != "shutting-down" {
			return i, nil
		}
		known = append(known, i.Node)
	}
	return reconcile.Status{}, fmt.Errorf("no node %q in lab %s; there are %v", name, a.config.Name, slices.Compact(known))
}

// attach gives a command this process's terminal.
func attach(cmd *exec.Cmd) *exec.Cmd {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

func (a *app) exec() *cobra.Command {
	return &cobra.Command{
		Use:   "exec -- COMMAND [ARG…]",
		Short: "Run a command on the lab's internet side",
		Long: `Run a command on the lab's internet side: elastic addresses are reachable from
there, the AWS API is at the same address as on the host, and nothing private is.
What it started and is still running ends with the lab.`,
		Example: "  xeroops-lab exec -- curl -k https://198.51.100.1/\n  xeroops-lab exec -- packer build .",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, command []string) error {
			state, err := a.client().State(c.Context())
			if err != nil {
				return err
			}
			cmd := vpcnet.Command(c.Context(), a.config.NetworkDir(), vpcnet.Internet, command...)
			cmd.Env = append(os.Environ(), state.Config.Environment()...)
			group, err := a.config.Kind().Beside(cmd)
			if err != nil {
				return fmt.Errorf("run %q on the internet side: %w", command, err)
			}
			defer group.Close()
			// A terminal's Ctrl-C is the command's: it may have to clean up, and its end is ours.
			interrupted := make(chan os.Signal, 1)
			signal.Notify(interrupted, os.Interrupt)
			defer signal.Stop(interrupted)
			return attach(cmd).Run()
		},
	}
}

func (a *app) shell() *cobra.Command {
	return &cobra.Command{
		Use:     "shell NODE [-- COMMAND [ARG…]]",
		Short:   "Open root's shell, or run a command, in a machine",
		Example: "  xeroops-lab shell db1\n  xeroops-lab shell db1 -- systemctl --failed",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			i, err := a.find(c.Context(), given[0])
			if err != nil {
				return err
			}
			command := given[1:]
			if len(command) == 0 {
				command = []string{"/bin/bash", "--login"}
			}
			cmd, err := a.config.Kind().Command(c.Context(), i.InstanceID, command...)
			if err != nil {
				return err
			}
			return attach(cmd).Run()
		},
	}
}

func (a *app) ssh() *cobra.Command {
	var user string
	c := &cobra.Command{
		Use:   "ssh NODE [-- SSH-ARGUMENT…]",
		Short: "Log in to a machine with the key pair that it was launched with",
		Long: `Log in to a machine over SSH, as far as its own sshd is concerned from the machine
itself: no security group is in the way. Give the private key with -i after --.`,
		Example: "  xeroops-lab ssh app1 -- -i ~/.ssh/lab uptime",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			if _, err := exec.LookPath("ssh"); err != nil {
				return fmt.Errorf("%w: ssh is missing: apt-get install openssh-client", errMissing)
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			proxy := fmt.Sprintf("%s connect --name=%s --run-dir=%s %s 22", self, a.config.Name, a.config.RunRoot, given[0])
			ssh := []string{"-o", "ProxyCommand=" + proxy, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"}
			cmd := exec.CommandContext(c.Context(), "ssh", append(append(ssh, user+"@"+given[0]), given[1:]...)...)
			return attach(cmd).Run()
		},
	}
	c.Flags().StringVar(&user, "user", "admin", "user to log in as")
	return c
}

// connect is the way to a machine for ssh's ProxyCommand and xeroops --via: it
// copies standard input and output to a port, once it is inside the machine's network.
func (a *app) connect() *cobra.Command {
	var inside bool
	c := &cobra.Command{
		Use:   "connect NODE|ADDRESS PORT",
		Short: "Connect standard input and output to a port of a machine",
		Long: `Connect standard input and output to a port of a machine, as far as the machine is
concerned from itself: no security group is in the way.`,
		Example: "  xeroops status --via 'xeroops-lab connect %h %p'",
		Args:    exactArgs(2),
		RunE: func(c *cobra.Command, given []string) error {
			if inside {
				return pipe(c.Context(), net.JoinHostPort("127.0.0.1", given[1]))
			}
			i, err := a.find(c.Context(), given[0])
			if err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			cmd := exec.CommandContext(c.Context(), "nsenter", "--net="+i.Namespace, self, "connect", "--inside", given[0], given[1])
			return attach(cmd).Run()
		},
	}
	c.Flags().BoolVar(&inside, "inside", false, "the network is the machine's already")
	return c
}

func pipe(ctx context.Context, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, os.Stdin) // the connection's end is the other copy's
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

func (a *app) logs() *cobra.Command {
	var follow bool
	var unit string
	c := &cobra.Command{
		Use:     "logs NODE",
		Short:   "Print a machine's console, or a unit's journal",
		Example: "  xeroops-lab logs db1\n  xeroops-lab logs db1 --unit patroni --follow",
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, given []string) error {
			i, err := a.find(c.Context(), given[0])
			if err != nil {
				return err
			}
			if unit == "" {
				command := []string{"--lines=+1"}
				if follow {
					command = append(command, "--follow")
				}
				return attach(exec.CommandContext(c.Context(), "tail", append(command, a.config.Kind().ConsoleLog(i.InstanceID))...)).Run()
			}
			command := []string{"journalctl", "--no-pager", "--unit=" + unit}
			if follow {
				command = append(command, "--follow")
			}
			cmd, err := a.config.Kind().Command(c.Context(), i.InstanceID, command...)
			if err != nil {
				return fmt.Errorf("read journal of %s: %w", given[0], err)
			}
			return attach(cmd).Run()
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as more is written")
	c.Flags().StringVarP(&unit, "unit", "u", "", "systemd unit whose journal to print")
	return c
}
