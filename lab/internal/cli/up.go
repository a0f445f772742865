//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	// upTimeout allows for a base image over a slow line.
	upTimeout   = 15 * time.Minute
	downTimeout = 2 * time.Minute
	logTail     = 2000 // bytes
)

func (a *app) up() *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the lab and print the environment that makes AWS clients use it",
		Long: `Start the lab in the background and print the environment that makes AWS clients
use it, for eval "$(xeroops-lab up)". A lab that runs stays as it is. What a lab
whose supervisor died left is removed first: moto keeps nothing on disk, so its
cluster can't be taken up again.`,
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
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
	flags.IntVar(&a.config.Port, "port", 0, fmt.Sprintf("loopback port of the AWS API (default %d)", supervisor.DefaultPort))
	flags.StringVar(&a.config.Region, "region", "", "region whose instances become machines (default "+supervisor.DefaultRegion+")")
	flags.StringVar(&a.config.Mirror, "mirror", "", "URL of a Debian mirror (default the one of this host's apt sources)")
	flags.StringVar(&a.config.CacheDir, "cache-dir", "", "folder for base images and packages, kept between labs (default "+supervisor.DefaultCacheDir+", or $XEROOPS_LAB_CACHE)")
	flags.DurationVar(&a.config.CredentialLife, "credential-life", 0, "how long role credentials are good (default 6h)")
}

// start starts the lab unless it runs, and returns the configuration that it
// runs with.
func (a *app) start(ctx context.Context) (supervisor.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	if state, err := a.client().State(ctx); err == nil {
		fmt.Fprintf(os.Stderr, "lab %s runs already (process %d)\n", state.Config.Name, state.PID)
		return a.await(ctx, nil)
	} else if !errors.Is(err, supervisor.ErrDown) {
		return supervisor.Config{}, err
	}
	if err := preflight(a.config); err != nil {
		return supervisor.Config{}, err
	}
	if a.config.Leftovers() {
		fmt.Fprintf(os.Stderr, "lab %s was left by a supervisor that died; its machines are removed\n", a.config.Name)
	}
	ended, err := a.spawn()
	if err != nil {
		return supervisor.Config{}, err
	}
	return a.await(ctx, ended)
}

// spawn starts the supervisor in a session of its own.
func (a *app) spawn() (<-chan error, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if err := os.MkdirAll(a.config.RunRoot, 0o755); err != nil {
		return nil, err
	}
	// Another lab's supervisor may be writing to it: the new one empties it once it
	// has the lab's lock.
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
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, nil
}

// await shows what is being started until the lab is up or has failed; ended tells
// of the supervisor's end, and is nil if another `up` started it.
func (a *app) await(ctx context.Context, ended <-chan error) (supervisor.Config, error) {
	progress := newProgress(os.Stderr)
	defer progress.finish()
	for {
		state, err := a.client().State(ctx)
		switch {
		case err == nil && state.Phase == supervisor.PhaseReady:
			return state.Config, nil
		case err == nil && state.Phase == supervisor.PhaseEnded && state.Error != "":
			return state.Config, fmt.Errorf("start lab %s: %s; its log is %s", state.Config.Name, state.Error, state.Config.LogFile())
		case err == nil && (state.Phase == supervisor.PhaseEnding || state.Phase == supervisor.PhaseEnded):
			return state.Config, fmt.Errorf("start lab %s: it is ending; run up again once it has", a.config.Name)
		case err == nil:
			progress.show(state.Step)
		case !errors.Is(err, supervisor.ErrDown) || ended == nil: // another's supervisor answered before
			return state.Config, err
		}
		select {
		case <-ctx.Done():
			return state.Config, fmt.Errorf("start lab %s: %w; its log is %s", a.config.Name, ctx.Err(), a.config.LogFile())
		case err := <-ended:
			return state.Config, fmt.Errorf("start lab %s: the supervisor ended (%w):\n%s", a.config.Name, err, tail(a.config.LogFile()))
		case <-time.After(pollEvery):
		}
	}
}

func tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(content[max(0, len(content)-logTail):]))
}

// progress shows one changing line on a terminal, and a line a step elsewhere.
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
		Short: "Print the environment that makes AWS clients use the lab",
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
		Short: "End the lab and remove everything of it, its disks too",
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

// takeLock waits until the supervisor has ended.
func (a *app) takeLock(ctx context.Context) (*supervisor.Lock, error) {
	progress := newProgress(os.Stderr)
	defer progress.finish()
	for {
		lock, err := a.config.Lock()
		if !errors.Is(err, supervisor.ErrRunning) {
			return lock, err
		}
		progress.show("waiting for the machines to end")
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("end lab %s: its supervisor still runs; see %s, kill it, and run down again", a.config.Name, a.config.LogFile())
		case <-time.After(pollEvery):
		}
	}
}

// supervise is what up runs in the background.
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
