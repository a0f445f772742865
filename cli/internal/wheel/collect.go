package wheel

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

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

// publicVersion is a version as the packaging rules have it, near enough: one that
// is not can't be written into a wheel's name, and pip can't depend on it.
var publicVersion = regexp.MustCompile(`^([0-9]+!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[a-z0-9]+(\.[a-z0-9]+)*)?$`)

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
			"--implementation=cp", "--python-version=" + image.Version, "--abi=" + abi(image), "--constraint", constraints,
			"--find-links", fileURL(work), "--progress-bar=off"}
		for _, platform := range platforms(image.Platform) {
			args = append(args, "--platform="+platform)
		}
		cmd := python.command(ctx, append(append(args, more...), app.Path)...)
		return run(cmd, "resolve what "+app.Name+" depends on, for Python "+image.Version+" on "+image.Platform)
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
	tag := strings.Join([]string{abi(image), abi(image), image.Platform}, "-")
	for name, version := range image.Distributions {
		if !publicVersion.MatchString(version) || normalized(name) == normalized(app.Name) {
			continue
		}
		fmt.Fprintf(&lines, "%s==%s\n", name, version)
		file, content := wheelfile.Wheel{Name: strings.ReplaceAll(normalized(name), "-", "_"), Version: version, Build: standIn, Tag: tag}.Make()
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

var separators = regexp.MustCompile(`[-_.]+`)

// normalized is a distribution's name as PEP 503 has it.
func normalized(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

func abi(image registry.Python) string { return "cp" + strings.ReplaceAll(image.Version, ".", "") }

// platforms are the tags of all wheels that run where those of platform do: of
// older C libraries too, down to 2.5 (PEP 600), by their old names as well, and
// whatever was built for the very machine.
func platforms(platform string) []string {
	rest, found := strings.CutPrefix(platform, "manylinux_2_")
	minorText, machine, _ := strings.Cut(rest, "_")
	minor, err := strconv.Atoi(minorText)
	if !found || err != nil {
		return []string{platform}
	}
	aliases := map[int]string{17: "manylinux2014_", 12: "manylinux2010_", 5: "manylinux1_"}
	var all []string
	for ; minor >= 5; minor-- {
		all = append(all, fmt.Sprintf("manylinux_2_%d_%s", minor, machine))
		if alias, ok := aliases[minor]; ok {
			all = append(all, alias+machine)
		}
	}
	return append(all, "linux_"+machine)
}

// environment is what environment markers see on the image (PEP 508).
func environment(image registry.Python) map[string]string {
	machine := image.Platform
	for _, known := range []string{"x86_64", "aarch64"} {
		if strings.HasSuffix(image.Platform, known) {
			machine = known
		}
	}
	return map[string]string{
		"implementation_name": "cpython", "implementation_version": image.Version + ".0",
		"os_name": "posix", "sys_platform": "linux",
		"platform_machine": machine, "platform_python_implementation": "CPython",
		"platform_release": "", "platform_system": "Linux", "platform_version": "",
		"python_full_version": image.Version + ".0", "python_version": image.Version,
	}
}
