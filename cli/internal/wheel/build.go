package wheel

import (
	"archive/zip"
	"bufio"
	"context"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// waitDelay is how long child processes of a build may keep its output open after the
// build was interrupted.
const waitDelay = 2 * time.Second

// earliest is the oldest time of a zip archive. With it, the same content builds the
// same wheel at any time
// (https://reproducible-builds.org/specs/source-date-epoch/).
const earliest = "SOURCE_DATE_EPOCH=315532800"

// setuptoolsConfig keeps setuptools from writing into the project. Its next build would
// include files there that the project has since removed.
const setuptoolsConfig = "[build]\nbuild_base = %[1]s\n[egg_info]\negg_base = %[1]s\n"

// Built is the application's own wheel.
type Built struct {
	Path    string
	Name    string // as written in the wheel
	Version string
}

// Build builds the project in dir with uv, build or pip, whichever is available, into
// an empty directory. With a wheelhouse, the project's build system is taken from
// there.
func Build(ctx context.Context, python Python, dir, wheelhouse, into string) (Built, error) {
	work, err := os.MkdirTemp("", "xeroops-build-")
	if err != nil {
		return Built{}, err
	}
	defer os.RemoveAll(work)
	elsewhere := filepath.Join(work, "setuptools.cfg")
	if err := os.WriteFile(elsewhere, fmt.Appendf(nil, setuptoolsConfig, work), 0o600); err != nil {
		return Built{}, err
	}
	cmd := builder(ctx, python, wheelhouse, into)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "DIST_EXTRA_CONFIG="+elsewhere)
	if os.Getenv("SOURCE_DATE_EPOCH") == "" {
		cmd.Env = append(cmd.Env, earliest)
	}
	if wheelhouse != "" { // for the pip that build runs
		cmd.Env = append(cmd.Env, "PIP_NO_INDEX=1", "PIP_FIND_LINKS="+fileURL(wheelhouse))
	}
	if err := run(cmd, "build "+dir); err != nil {
		return Built{}, err
	}
	built, err := filepath.Glob(filepath.Join(into, "*.whl"))
	if err != nil {
		return Built{}, err
	}
	if len(built) != 1 {
		return Built{}, fmt.Errorf("build %s: got %d wheels, want 1", dir, len(built))
	}
	return inspect(built[0])
}

func builder(ctx context.Context, python Python, wheelhouse, into string) *exec.Cmd {
	if uv, err := exec.LookPath("uv"); err == nil {
		args := []string{"build", "--wheel", "--out-dir", into}
		if wheelhouse != "" {
			args = append(args, "--no-index", "--find-links", wheelhouse)
		}
		return exec.CommandContext(ctx, uv, args...)
	}
	if python.command(ctx, "-c", "import build.__main__").Run() == nil {
		return python.command(ctx, "-m", "build", "--wheel", "--outdir", into)
	}
	// The project's required Python is that of the image, which is checked later.
	return python.command(ctx, "-m", "pip", "wheel", "--no-deps", "--ignore-requires-python", "--no-cache-dir", "--wheel-dir", into, ".")
}

// inspect reads a wheel's metadata.
func inspect(path string) (Built, error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return Built{}, fmt.Errorf("read %s: %w", path, err)
	}
	defer archive.Close()
	for _, f := range archive.File {
		dir, name, _ := strings.Cut(f.Name, "/")
		if name != "METADATA" || !strings.HasSuffix(dir, ".dist-info") {
			continue
		}
		content, err := f.Open()
		if err != nil {
			return Built{}, fmt.Errorf("read %s: %w", path, err)
		}
		defer content.Close()
		header, err := textproto.NewReader(bufio.NewReader(content)).ReadMIMEHeader()
		if err != nil && err != io.EOF { //nolint:errorlint // returned unwrapped if there is no body
			return Built{}, fmt.Errorf("read %s of %s: %w", f.Name, path, err)
		}
		return Built{Path: path, Name: header.Get("Name"), Version: header.Get("Version")}, nil
	}
	return Built{}, fmt.Errorf("read %s: not a wheel: it has no METADATA", path)
}

// CheckApp returns an error if the wheel does not contain the module of app
// (module:attribute).
func (b Built) CheckApp(app string) error {
	archive, err := zip.OpenReader(b.Path)
	if err != nil {
		return fmt.Errorf("read %s: %w", b.Path, err)
	}
	defer archive.Close()
	module, _, _ := strings.Cut(app, ":")
	file := strings.ReplaceAll(module, ".", "/")
	for _, f := range archive.File {
		// A module is a file of any type that Python imports, or a package.
		if strings.HasPrefix(f.Name, file+".") || strings.HasPrefix(f.Name, file+"/") {
			return nil
		}
	}
	return fmt.Errorf("app %q: the wheel %s has no module %s; check that the project's build includes its package",
		app, filepath.Base(b.Path), module)
}
