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

// resolve runs pip as if on the image.
//
//go:embed resolve.py
var resolve string

// standIn is the build number of the wheels that stand for what the image has. It
// wins against any other wheel of that version.
const standIn = "999999xeroops"

// Collect has pip put the application's wheel and every wheel that it depends on
// into a folder that is empty, for the image's Python, without what the image has
// already. What the image has is offered to pip as empty wheels, and is the one
// version of it that pip may choose; so what comes out fits with it, or pip says
// why nothing does. With a wheelhouse, nothing is downloaded.
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
		return run(cmd, "resolve what "+app.Name+" depends on, for Python "+string(image.Version)+" on "+string(image.Platform))
	}
	offline := []string{"--no-index"}
	if wheelhouse != "" {
		offline = append(offline, "--find-links", fileURL(wheelhouse))
	}
	// What the image has is often all there is, and then no index has to be asked.
	err = pip(offline...)
	if err != nil && wheelhouse == "" && ctx.Err() == nil {
		err = pip()
	}
	if err != nil {
		return fmt.Errorf("%w\nA package of which there is no wheel for this platform has to be built as one and given with --wheelhouse;\n"+
			"of packages that the image has, only the image's version can be had", err)
	}
	return removeStandIns(into)
}

// standIns makes an empty wheel for each distribution that the image has, and
// returns a constraints file that allows no other version.
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
			return "", fmt.Errorf("stand in for %s %s: %w", name, version, err)
		}
	}
	constraints = filepath.Join(into, "constraints.txt")
	return constraints, os.WriteFile(constraints, []byte(lines.String()), 0o600)
}

func removeStandIns(folder string) error {
	stand, err := filepath.Glob(filepath.Join(folder, "*-"+standIn+"-*.whl"))
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

// environment is what environment markers see on the image (PEP 508).
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
