//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/xeroops/xeroops/lab/internal/supervisor"
)

const (
	pollEvery = 50 * time.Millisecond
	// upTimeout allows for building the base image over a slow connection.
	upTimeout   = 15 * time.Minute
	downTimeout = 2 * time.Minute
	logTail     = 2000 // bytes
)

func (a *app) up() *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the lab and print the environment for AWS clients",
		Long: `Start the lab in the background and print the environment variables that point AWS
clients at it, for use as eval "$(xeroops-lab up)".

If the lab is already running, up leaves it unchanged. If its supervisor died, up
removes the remains and starts an empty lab: moto keeps its data in memory only, so
the old cluster cannot be recovered.`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("port") {
				a.config.Port = choosePort(a.config.Port)
			}
			config, err := a.start(c.Context())
			if err != nil {
				return err
			}
			printEnvironment(c.OutOrStdout(), config)
			return nil
		},
	}
	a.startFlags(c)
	return c
}

func (a *app) startFlags(c *cobra.Command) {
	flags := c.Flags()
	flags.IntVar(&a.config.Port, "port", 0, fmt.Sprintf("loopback port of the AWS API (default %d, or a free port if that is taken)", supervisor.DefaultPort))
	flags.StringVar(&a.config.Region, "region", "", "region whose instances run as machines (default "+supervisor.DefaultRegion+")")
	flags.StringVar(&a.config.Mirror, "mirror", "", "URL of a Debian mirror (default: the one in this host's apt sources)")
	flags.StringVar(&a.config.CacheDir, "cache-dir", "", "directory for base images and packages, kept between labs (default $XEROOPS_LAB_CACHE, or "+supervisor.DefaultCacheDir+")")
	flags.DurationVar(&a.config.CredentialLife, "credential-life", 0, "lifetime of role credentials (default 6h)")
}

// choosePort returns the preferred loopback port, or a free one if it is taken.
func choosePort(preferred int) int {
	for _, port := range []int{preferred, 0} {
		if l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			defer l.Close()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	return preferred // preflight reports that it is taken
}

// start starts the lab unless it is running, and returns the configuration that it
// runs with.
func (a *app) start(ctx context.Context) (supervisor.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	if state, err := a.client().State(ctx); err == nil {
		fmt.Fprintf(os.Stderr, "lab %s is already running (pid %d)\n", state.Config.Name, state.PID)
		return a.await(ctx, nil)
	} else if !errors.Is(err, supervisor.ErrDown) {
		return supervisor.Config{}, err
	}
	if err := preflight(a.config); err != nil {
		return supervisor.Config{}, err
	}
	if a.config.Leftovers() {
		fmt.Fprintf(os.Stderr, "removing the remains of lab %s, whose supervisor died\n", a.config.Name)
	}
	ended, err := a.spawn()
	if err != nil {
		return supervisor.Config{}, err
	}
	return a.await(ctx, ended)
}

// spawn starts the supervisor in its own session and returns a channel that receives
// its exit status.
func (a *app) spawn() (<-chan error, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the path of xeroops-lab: %w", err)
	}
	if err := os.MkdirAll(a.config.RunRoot, 0o755); err != nil {
		return nil, err
	}
	// Append: another supervisor of this lab may still be writing. The new one truncates
	// the log once it holds the lab's lock.
	log, err := os.OpenFile(a.config.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := a.config
	cmd := exec.Command(self, "supervise", "--name="+c.Name, "--run-dir="+c.RunRoot, "--state-dir="+c.StateRoot,
		"--cache-dir="+c.CacheDir, "--port="+strconv.Itoa(c.Port), "--region="+c.Region, "--mirror="+c.Mirror,
		"--credential-life="+c.CredentialLife.String())
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, nil
}

// await shows progress until the lab is up or has failed. ended receives the
// supervisor's exit status; it is nil if another up started the supervisor.
func (a *app) await(ctx context.Context, ended <-chan error) (supervisor.Config, error) {
	progress := newProgress(os.Stderr)
	defer progress.finish()
	for {
		state, err := a.client().State(ctx)
		switch {
		case err == nil && state.Phase == supervisor.PhaseReady:
			return state.Config, nil
		case err == nil && state.Phase == supervisor.PhaseEnded && state.Error != "":
			return state.Config, fmt.Errorf("start lab %s: %s; see %s", state.Config.Name, state.Error, state.Config.LogFile())
		case err == nil && (state.Phase == supervisor.PhaseEnding || state.Phase == supervisor.PhaseEnded):
			return state.Config, fmt.Errorf("start lab %s: the lab is shutting down; run up again when it is gone", a.config.Name)
		case err == nil:
			progress.show(state.Step)
		case !errors.Is(err, supervisor.ErrDown) || ended == nil: // with ended nil, a supervisor answered earlier
			return state.Config, err
		}
		select {
		case <-ctx.Done():
			return state.Config, fmt.Errorf("start lab %s: %w; see %s", a.config.Name, ctx.Err(), a.config.LogFile())
		case err := <-ended:
			return state.Config, fmt.Errorf("start lab %s: supervisor exited (%w):\n%s", a.config.Name, err, tail(a.config.LogFile()))
		case <-time.After(pollEvery):
		}
	}
}

// tail returns the last logTail bytes of a file, or the error of reading it.
func tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(content[max(0, len(content)-logTail):]))
}

// progress redraws one line on a terminal; elsewhere it prints a line per step.
type progress struct {
	out      *os.File
	terminal bool
	step     string
	began    time.Time
}

func newProgress(out *os.File) *progress {
	return &progress{out: out, terminal: isatty.IsTerminal(out.Fd()), began: time.Now()}
}

func (p *progress) show(step string) {
	elapsed := time.Since(p.began).Round(100 * time.Millisecond)
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s … %s", step, elapsed)
	} else if step != p.step {
		fmt.Fprintf(p.out, "%s (after %s)\n", step, elapsed)
	}
	p.step = step
}

func (p *progress) finish() {
	if p.terminal && p.step != "" {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (a *app) env() *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print the environment for AWS clients",
		Args:  exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			state, err := a.client().State(c.Context())
			if err != nil {
				return err
			}
			printEnvironment(c.OutOrStdout(), state.Config)
			return nil
		},
	}
}

func printEnvironment(out io.Writer, c supervisor.Config) {
	for _, variable := range c.Environment() {
		fmt.Fprintln(out, "export "+variable)
	}
}

func (a *app) down() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the lab and delete its machines, disks and networks",
		Args:  exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), downTimeout)
			defer cancel()
			if err := a.client().Down(ctx); err != nil && !errors.Is(err, supervisor.ErrDown) {
				return err
			}
			lock, err := a.takeLock(ctx)
			if err != nil {
				return err
			}
			defer lock.Close()
			if err := a.config.Clean(); err != nil {
				return err
			}
			return a.config.Forget()
		},
	}
}

// takeLock waits until the supervisor has exited and takes its lock.
func (a *app) takeLock(ctx context.Context) (*supervisor.Lock, error) {
	progress := newProgress(os.Stderr)
	defer progress.finish()
	for {
		lock, err := a.config.Lock()
		if !errors.Is(err, supervisor.ErrRunning) {
			return lock, err
		}
		progress.show("waiting for the machines to stop")
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("stop lab %s: its supervisor is still running; see %s, kill the process and run down again", a.config.Name, a.config.LogFile())
		case <-time.After(pollEvery):
		}
	}
}

// supervise is the hidden command that up starts in the background.
func (a *app) supervise() *cobra.Command {
	c := &cobra.Command{
		Use:    "supervise",
		Short:  "Run the lab in the foreground",
		Hidden: true,
		Args:   exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return supervisor.Run(ctx, a.config, os.Stderr)
		},
	}
	a.startFlags(c)
	return c
}
