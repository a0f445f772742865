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

// find returns the instance with the given node name, private address or instance id.
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
	return reconcile.Status{}, fmt.Errorf("no node %q in lab %s; its nodes are %v", name, a.config.Name, slices.Compact(known))
}

// attach connects a command to this process's standard streams.
func attach(cmd *exec.Cmd) *exec.Cmd {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

func (a *app) exec() *cobra.Command {
	return &cobra.Command{
		Use:   "exec -- COMMAND [ARG…]",
		Short: "Run a command on the lab's internet side",
		Long: `Run a command in the network namespace that represents the internet. Elastic IP
addresses are reachable from there and private addresses are not; the AWS API has
the same address as on the host. Processes that the command leaves running end
with the lab.`,
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
			// Ctrl-C reaches the command as well, which may have to clean up: keep waiting for it.
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
		Short:   "Open a root shell in a machine, or run a command there as root",
		Example: "  xeroops-lab shell db1\n  xeroops-lab shell db1 -- systemctl --failed",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, arguments []string) error {
			i, err := a.find(c.Context(), arguments[0])
			if err != nil {
				return err
			}
			command := arguments[1:]
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
		Use:   "ssh NODE [-- SSH_ARGUMENT…]",
		Short: "Log in to a machine over SSH",
		Long: `Log in to a machine over SSH with the key pair it was launched with; pass the
private key with -i after --. The connection is made from inside the machine's
network namespace, so security groups do not apply.`,
		Example: "  xeroops-lab ssh app1 -- -i ~/.ssh/lab uptime",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, arguments []string) error {
			if _, err := exec.LookPath("ssh"); err != nil {
				return fmt.Errorf("%w: ssh is missing: apt-get install openssh-client", errMissing)
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			proxy := fmt.Sprintf("%s connect --name=%s --run-dir=%s %s 22", self, a.config.Name, a.config.RunRoot, arguments[0])
			ssh := []string{"-o", "ProxyCommand=" + proxy, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"}
			cmd := exec.CommandContext(c.Context(), "ssh", append(append(ssh, user+"@"+arguments[0]), arguments[1:]...)...)
			return attach(cmd).Run()
		},
	}
	c.Flags().StringVar(&user, "user", "admin", "login user")
	return c
}

// connect is the proxy command for ssh and for xeroops --via. It runs itself again
// with --inside in the machine's network namespace, where it connects standard input
// and output to the port.
func (a *app) connect() *cobra.Command {
	var inside bool
	c := &cobra.Command{
		Use:   "connect NODE|ADDRESS PORT",
		Short: "Connect standard input and output to a TCP port of a machine",
		Long: `Connect standard input and output to a TCP port of a machine. The connection is made
from inside the machine's network namespace, so security groups do not apply.`,
		Example: "  xeroops status --via 'xeroops-lab connect %h %p'",
		Args:    exactArgs(2),
		RunE: func(c *cobra.Command, arguments []string) error {
			if inside {
				return pipe(c.Context(), net.JoinHostPort("127.0.0.1", arguments[1]))
			}
			i, err := a.find(c.Context(), arguments[0])
			if err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			cmd := exec.CommandContext(c.Context(), "nsenter", "--net="+i.Namespace, self, "connect", "--inside", arguments[0], arguments[1])
			return attach(cmd).Run()
		},
	}
	c.Flags().BoolVar(&inside, "inside", false, "connect directly: the process is in the machine's network namespace")
	return c
}

// pipe copies standard input to a TCP connection and what it answers to standard output.
func pipe(ctx context.Context, address string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, os.Stdin) // the other copy reports errors of the connection
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
		Short:   "Print a machine's console log, or the journal of one of its units",
		Example: "  xeroops-lab logs db1\n  xeroops-lab logs db1 --unit patroni --follow",
		Args:    exactArgs(1),
		RunE: func(c *cobra.Command, arguments []string) error {
			i, err := a.find(c.Context(), arguments[0])
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
				return fmt.Errorf("read journal of %s: %w", arguments[0], err)
			}
			return attach(cmd).Run()
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "keep printing as the log grows")
	c.Flags().StringVarP(&unit, "unit", "u", "", "print the journal of this systemd unit")
	return c
}
