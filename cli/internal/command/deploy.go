package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/cli/internal/project"
	"github.com/xeroops/xeroops/cli/internal/publish"
	"github.com/xeroops/xeroops/cli/internal/wheel"
	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/printable"
	"github.com/xeroops/xeroops/internal/registry"
)

// defaultTimeout is longer than a node takes for a bundle of hundreds of MB. A node
// that takes longer continues; the command only stops waiting for it.
const defaultTimeout = 5 * time.Minute

func (a *app) deploy() *cobra.Command {
	var wheelhouse string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "deploy [DIR]",
		Short: "Build the application in DIR and deploy it to all app nodes",
		Long: `Build the Python project in DIR (default: the current directory), collect its
dependencies that the image does not have, publish both as one version, and follow
the app nodes until they run it. No request fails meanwhile; a node on which the
new version does not become healthy keeps the running one.

The project's pyproject.toml has the settings to run it:

  [tool.xeroops]
  app = "notes.main:app"        # ASGI application
  port = 8001                   # 8000 to 8099, unique in the cluster
  route_prefix = "/api/notes"   # requests below this path are sent to the application
  health_path = "/healthz"      # default
  health_host = "notes"         # default: name; Host of health checks
  health_proto = "https"        # default; their X-Forwarded-Proto
  workers = 1                   # default; processes on each node
  timeout = 60                  # default; seconds until a response
  drain = 60                    # default: timeout; seconds for requests of a replaced version
  start_timeout = 30            # default; seconds until a version answers
  name = "notes"                # default: the project's

A published version never changes: to deploy other content, raise the project's
version. After an interruption, the same command continues.`,
		Example: "  xeroops deploy\n  xeroops deploy services/notes --wheelhouse wheels/",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			d := deployment{app: a, wheelhouse: wheelhouse, timeout: timeout, log: c.ErrOrStderr(), out: c.OutOrStdout()}
			dir := "."
			if len(given) == 1 {
				dir = given[0]
			}
			return d.run(c.Context(), dir)
		},
	}
	c.Flags().StringVar(&wheelhouse, "wheelhouse", "", "directory of wheels to use for all dependencies, including the build system; nothing is downloaded")
	timeoutFlag(c, &timeout)
	return c
}

func timeoutFlag(c *cobra.Command, timeout *time.Duration) {
	c.Flags().DurationVar(timeout, "timeout", defaultTimeout, "how long to wait for the app nodes")
}

// deployment is one run of deploy.
type deployment struct {
	app        *app
	wheelhouse string
	timeout    time.Duration
	log, out   io.Writer

	access *access.Access
	client *redis.Client
}

func (d *deployment) run(ctx context.Context, dir string) error {
	p, err := project.Read(dir)
	if err != nil {
		return err
	}
	if d.wheelhouse, err = checkWheelhouse(d.wheelhouse); err != nil {
		return err
	}
	python, err := wheel.FindPython(ctx)
	if err != nil {
		return d.untouched(ctx, err)
	}
	if d.access, err = access.Open(ctx, d.app.settings); err != nil {
		return d.untouched(ctx, err)
	}
	if d.client, err = d.access.Registry(ctx, registry.UserDeploy); err != nil {
		return d.untouched(ctx, err)
	}
	defer d.client.Close()
	image, err := registry.ReadPython(ctx, d.client, d.access.NodesOf(cluster.RoleApp))
	if err != nil {
		return d.untouched(ctx, fmt.Errorf("%w: %w; start an app node: the wheels are collected for its image", access.ErrUnreachable, err))
	}
	if err := d.checkTaken(ctx, p.Settings); err != nil {
		return d.untouched(ctx, err)
	}
	work, err := os.MkdirTemp("", "xeroops-deploy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	manifest, err := d.make(ctx, p, python, image, work)
	if err != nil {
		return d.untouched(ctx, err)
	}
	published, err := d.upload(ctx, manifest, filepath.Join(work, "wheels"))
	if err != nil {
		return err
	}
	return d.rollOut(ctx, published)
}

func checkWheelhouse(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%w: --wheelhouse %s: not a directory", errUsage, dir)
	}
	return filepath.Abs(dir)
}

// untouched returns err, or after an interrupt an error that nothing has changed.
func (d *deployment) untouched(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return errors.New("interrupted: nothing was published or uploaded")
}

// checkTaken returns an error if another application has the port or route prefix.
func (d *deployment) checkTaken(ctx context.Context, m bundle.Manifest) error {
	nodes, err := registry.ReadNodes(ctx, d.client, d.access.NodesOf(cluster.RoleApp))
	if err != nil {
		return err
	}
	for _, n := range nodes {
		for _, other := range n.Applications {
			switch {
			case other.Name == m.Application:
			case other.Port == m.Port:
				return fmt.Errorf("%w: port %d is used by %s on %s; choose another in [tool.xeroops]", project.ErrInvalid, m.Port, other.Name, n.Name)
			case other.RoutePrefix == m.RoutePrefix:
				return fmt.Errorf("%w: route_prefix %s is used by %s on %s; choose another in [tool.xeroops]", project.ErrInvalid, m.RoutePrefix, other.Name, n.Name)
			}
		}
	}
	return nil
}

// make builds the application, collects its dependencies, and returns their manifest.
func (d *deployment) make(ctx context.Context, p project.Project, python wheel.Python, image registry.Python, work string) (bundle.Manifest, error) {
	built, wheels := filepath.Join(work, "built"), filepath.Join(work, "wheels")
	for _, dir := range []string{built, wheels} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return bundle.Manifest{}, err
		}
	}
	step := d.step("building %s", p.Settings.Application)
	own, err := wheel.Build(ctx, python, p.Dir, d.wheelhouse, built)
	if err != nil {
		return bundle.Manifest{}, err
	}
	step("version %s", own.Version)
	if err := bundle.CheckVersion(own.Version); err != nil {
		return bundle.Manifest{}, fmt.Errorf("%w: %w", project.ErrInvalid, err)
	}
	if err := own.CheckApp(p.Settings.App); err != nil {
		return bundle.Manifest{}, fmt.Errorf("%w: %w", project.ErrInvalid, err)
	}
	step = d.step("collecting dependencies for Python %s on %s", image.Version, image.Platform)
	if err := wheel.Collect(ctx, python, image, own, d.wheelhouse, wheels); err != nil {
		return bundle.Manifest{}, err
	}
	m := p.Settings
	m.Version, m.Python, m.Platform, m.CreatedBy = own.Version, image.Version, image.Platform, d.access.Operator
	if m, err = publish.Describe(m, filepath.Base(own.Path), wheels); err != nil {
		return m, err
	}
	var size int64
	for _, w := range m.Wheels {
		size += w.Size
	}
	step("%d wheels, %.1f MB", len(m.Wheels), float64(size)/1e6)
	return m, nil
}

// upload uploads the bundle unless the bucket has it.
func (d *deployment) upload(ctx context.Context, m bundle.Manifest, dir string) (publish.Published, error) {
	there, found, err := publish.Find(ctx, d.access, m.Application, m.Version)
	if err != nil {
		return there, d.untouched(ctx, err)
	}
	if found {
		if differ := publish.Differences(m, there.Manifest); len(differ) > 0 {
			return there, fmt.Errorf("%w: %s %s: %s; raise the project's version", publish.ErrOther, m.Application, m.Version, strings.Join(differ, "; "))
		}
		step := d.step("%s %s is uploaded already", m.Application, m.Version)
		if err := publish.Wheels(ctx, d.access, m, dir, func(int) {}); err != nil {
			return there, d.untouched(ctx, err)
		}
		step("by %s", printable.Line(there.Manifest.CreatedBy))
		return there, nil
	}
	step := d.step("uploading to s3://%s/%s", d.access.Bucket, bundle.Prefix(m.Application, m.Version))
	uploaded := 0
	published, err := publish.Upload(ctx, d.access, m, dir, func(files int) { uploaded = max(uploaded, files) })
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: nothing was published; %d of %d wheels are uploaded; run the same command again to continue", uploaded, len(m.Wheels))
		}
		return published, err
	}
	step("done")
	return published, nil
}

// step prints the beginning of a step, and returns a function that prints its result.
func (d *deployment) step(format string, values ...any) func(format string, values ...any) {
	started := time.Now()
	fmt.Fprintf(d.log, format+" …\n", values...)
	return func(format string, values ...any) {
		fmt.Fprintf(d.log, "  "+format+" (%s)\n", append(values, time.Since(started).Round(100*time.Millisecond))...)
	}
}
