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

// waitDelay is how long what a build started may hold its output open after the
// build was interrupted.
const waitDelay = 2 * time.Second

// earliest is the oldest time that a zip archive can hold: files of equal content
// make equal wheels, whenever they are built
// (https://reproducible-builds.org/specs/source-date-epoch/).
const earliest = "SOURCE_DATE_EPOCH=315532800"

// setuptoolsConfig keeps setuptools from leaving files among the project's, of
// which it would take up again those that the project has removed since.
const setuptoolsConfig = "[build]\nbuild_base = %[1]s\n[egg_info]\negg_base = %[1]s\n"

// Built is the application's own wheel.
type Built struct {
	Path    string
	Name    string // as the wheel has it
	Version string
}

// Build builds the project in dir with uv, build or pip, whichever is there, and
// puts the wheel into a folder that is empty. With a wheelhouse, the project's
// build system comes from there.
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
	made, err := filepath.Glob(filepath.Join(into, "*.whl"))
	if err != nil {
		return Built{}, err
	}
	if len(made) != 1 {
		return Built{}, fmt.Errorf("build %s: it made %d wheels", dir, len(made))
	}
	return inspect(made[0])
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
	// The Python that is required is the image's, which pip is asked about later.
	return python.command(ctx, "-m", "pip", "wheel", "--no-deps", "--ignore-requires-python", "--no-cache-dir", "--wheel-dir", into, ".")
}

// inspect reads a wheel's own word on what it is.
func inspect(path string) (Built, error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return Built{}, fmt.Errorf("read %s: %w", path, err)
	}
	defer archive.Close()
	for _, f := range archive.File {
		folder, name, _ := strings.Cut(f.Name, "/")
		if name != "METADATA" || !strings.HasSuffix(folder, ".dist-info") {
			continue
		}
		content, err := f.Open()
		if err != nil {
			return Built{}, fmt.Errorf("read %s: %w", path, err)
		}
		defer content.Close()
		header, err := textproto.NewReader(bufio.NewReader(content)).ReadMIMEHeader()
		if err != nil && err != io.EOF { //nolint:errorlint // returned as it is, where there is no body
			return Built{}, fmt.Errorf("read %s of %s: %w", f.Name, path, err)
		}
		return Built{Path: path, Name: header.Get("Name"), Version: header.Get("Version")}, nil
	}
	return Built{}, fmt.Errorf("read %s: it is no wheel, for it has no METADATA", path)
}

// CheckApp returns an error if the wheel has no module that app (module:attribute)
// could be in.
func (b Built) CheckApp(app string) error {
	archive, err := zip.OpenReader(b.Path)
	if err != nil {
		return fmt.Errorf("read %s: %w", b.Path, err)
	}
	defer archive.Close()
	module, _, _ := strings.Cut(app, ":")
	file := strings.ReplaceAll(module, ".", "/")
	for _, f := range archive.File {
		// A module is a file of any kind that Python imports, or a package.
		if strings.HasPrefix(f.Name, file+".") || strings.HasPrefix(f.Name, file+"/") {
			return nil
		}
	}
	return fmt.Errorf("app %q: the wheel %s has no module %s; is it among the packages that the project's build takes up?",
		app, filepath.Base(b.Path), module)
}
