package wheel

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/xeroops/xeroops/internal/pep"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/wheelfile"
)

// resolve runs pip with the environment markers of the image.
//
//go:embed resolve.py
var resolve string

// standIn is the build number of the placeholder wheels for the image's packages. pip
// prefers it to any other wheel of the same version.
const standIn = "999999xeroops"

// Collect runs pip to put the application's wheel and its dependencies into an empty
// directory, for the image's Python, without the image's packages. Those are given to
// pip as empty placeholder wheels, whose versions are the only ones that pip may
// choose; so the result is compatible with the image, or pip reports the conflict. With
// a wheelhouse, nothing is downloaded.
func Collect(ctx context.Context, python Python, image registry.Python, app Built, wheelhouse, into string) error {
	work, err := os.MkdirTemp("", "xeroops-collect-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	constraints, err := standIns(image, app, work)
	if err != nil {
		return err
	}
	target, err := json.Marshal(environment(image))
	if err != nil {
		return err
	}
	pip := func(more ...string) error {
		args := []string{"-c", resolve, string(target), "download", "--only-binary=:all:", "--no-cache-dir", "--dest", into,
			"--implementation=cp", "--python-version=" + string(image.Version), "--abi=" + image.Version.Tag(), "--constraint", constraints,
			"--find-links", fileURL(work), "--progress-bar=off"}
		for _, platform := range image.Platform.Compatible() {
			args = append(args, "--platform="+platform)
		}
		cmd := python.command(ctx, append(append(args, more...), app.Path)...)
		return run(cmd, "resolve the dependencies of "+app.Name+" for Python "+string(image.Version)+" on "+string(image.Platform))
	}
	offline := []string{"--no-index"}
	if wheelhouse != "" {
		offline = append(offline, "--find-links", fileURL(wheelhouse))
	}
	// Often the image has all dependencies, and then no package index is needed.
	err = pip(offline...)
	if err != nil && wheelhouse == "" && ctx.Err() == nil {
		err = pip()
	}
	if err != nil {
		return fmt.Errorf("%w\nBuild a wheel of each package that has none for this platform, and pass the directory with --wheelhouse;\n"+
			"packages of the image are available in the image's version only", err)
	}
	return removeStandIns(into)
}

// standIns creates an empty wheel for each distribution of the image, and returns a
// constraints file that allows no other versions.
func standIns(image registry.Python, app Built, into string) (constraints string, err error) {
	var lines strings.Builder
	tag := strings.Join([]string{image.Version.Tag(), image.Version.Tag(), string(image.Platform)}, "-")
	own, err := pep.ParseName(app.Name)
	if err != nil {
		return "", fmt.Errorf("the application's wheel: %w", err)
	}
	for name, version := range image.Distributions {
		if name == own {
			continue
		}
		fmt.Fprintf(&lines, "%s==%s\n", name, version)
		file, content := wheelfile.Wheel{Name: string(name), Version: string(version), Build: standIn, Tag: tag}.Make()
		if err := os.WriteFile(filepath.Join(into, file), content, 0o600); err != nil {
			return "", fmt.Errorf("create a placeholder wheel for %s %s: %w", name, version, err)
		}
	}
	constraints = filepath.Join(into, "constraints.txt")
	return constraints, os.WriteFile(constraints, []byte(lines.String()), 0o600)
}

func removeStandIns(dir string) error {
	stand, err := filepath.Glob(filepath.Join(dir, "*-"+standIn+"-*.whl"))
	if err != nil {
		return err
	}
	for _, path := range stand {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// environment returns the values of environment markers on the image (PEP 508).
func environment(image registry.Python) map[string]string {
	version := string(image.Version)
	return map[string]string{
		"implementation_name": "cpython", "implementation_version": version + ".0",
		"os_name": "posix", "sys_platform": "linux",
		"platform_machine": image.Platform.Machine(), "platform_python_implementation": "CPython",
		"platform_release": "", "platform_system": "Linux", "platform_version": "",
		"python_full_version": version + ".0", "python_version": version,
	}
}
