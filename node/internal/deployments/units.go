package deployments

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/xeroops/xeroops/internal/bundle"
)

// The units of applications. A template of the image holds how each is confined;
// what differs is in a drop-in per version, which [writeUnits] makes.
const (
	target       = "xeroops-applications.target"
	serviceStem  = "xeroops-application@"
	trialSuffix  = "--trial"
	templatePath = "/usr/lib/systemd/system/xeroops-application@.service"
	socketPath   = "/usr/lib/systemd/system/xeroops-application@.socket"
	// trialOffset is what a trial's loopback port lies above the application's.
	trialOffset = 10000
	// VersionHeader is in every answer of an application, and says which version
	// gave it: while two share a socket nothing else tells them apart.
	VersionHeader = "X-Xeroops-Version"
)

// serviceUnit is the unit of a version that serves. Neither name nor version
// holds "--", so no two versions have the same.
func serviceUnit(application, version string) string {
	return serviceStem + application + "--" + unit.UnitNameEscape(version) + ".service"
}

// trialUnit is the unit of a version that is tried beside the one that serves.
func trialUnit(application, version string) string {
	return serviceStem + application + "--" + unit.UnitNameEscape(version) + trialSuffix + ".service"
}

// unitsOf matches all service units of an application.
func unitsOf(application string) string { return serviceStem + application + "--*.service" }

// socketsPattern matches all socket units of applications.
const socketsPattern = serviceStem + "*.socket"

// socketUnit holds the port that an application listens on, across its versions.
func socketUnit(port int) string { return fmt.Sprintf("xeroops-application@%d.socket", port) }

// userOf is the user that all versions of an application run as; systemd makes it
// while one runs. Names of users have 31 characters at most.
func userOf(application string) string {
	if name := "xeroops-app-" + application; len(name) <= 31 {
		return name
	}
	sum := sha256.Sum256([]byte(application))
	return "xeroops-app-" + hex.EncodeToString(sum[:])[:16]
}

// writeUnits writes the drop-ins of every version below root into folder, and what
// makes the target start those that are current. It is systemd's generator
// (systemd.generator(7)): it runs as root at every boot, before any service, and
// whenever systemd reloads, so applications start without this daemon, Redis or
// S3, and the daemon needs no right to write units. What it reads was written by
// the daemon; it takes nothing from there but manifests that are valid.
func writeUnits(root, folder string) error {
	s := store{root}
	applications, err := s.applications()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range applications {
		for _, v := range s.versions(a) {
			errs = append(errs,
				writeUnit(folder, serviceUnit(a, v.Version), serving(s, v)),
				writeUnit(folder, trialUnit(a, v.Version), trying(s, v)))
		}
		if v, ok := s.current(a); ok {
			errs = append(errs,
				want(folder, templatePath, serviceUnit(a, v.Version)),
				want(folder, socketPath, socketUnit(v.Port)))
		}
	}
	return errors.Join(errs...)
}

func writeUnit(folder, name, content string) error {
	folder = filepath.Join(folder, name+".d")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "50-version.conf"), []byte(content), 0o644)
}

func want(folder, template, name string) error {
	folder = filepath.Join(folder, target+".wants")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Symlink(template, filepath.Join(folder, name))
}

// serving is the drop-in of a version on the application's own socket.
func serving(s store, v installed) string {
	arguments := fmt.Sprintf("--fd 3 --workers %d", v.Workers)
	return dropIn(s, v, v.Port, arguments) + fmt.Sprintf(`Sockets=%s
ExecStartPre=/usr/bin/wait-for-db.sh
Restart=always
`, socketUnit(v.Port))
}

// trying is the drop-in of a version on a loopback port: once, with bounds.
func trying(s store, v installed) string {
	port := v.Port + trialOffset
	arguments := fmt.Sprintf("--host 127.0.0.1 --port %d --workers 1", port)
	// A database that is away is no fault of the release: the start fails then, and
	// not the trial.
	return dropIn(s, v, port, arguments) + `Environment=XEROOPS_TRIAL=1
ExecStartPre=/usr/bin/wait-for-db.sh --timeout 60s
Restart=no
RuntimeMaxSec=120
TimeoutStopSec=5
MemoryMax=50%
CPUWeight=50
`
}

// dropIn has what both kinds share. All values were checked by [bundle.Manifest.Check]:
// none holds white space, a quote, $ or %.
func dropIn(s store, v installed, port int, arguments string) string {
	folder := s.environment(v.Application, v.Version)
	return fmt.Sprintf(`# Made by xeroops-node from %[1]s/%[2]s
[Unit]
Description=Application %[3]s %[4]s

[Service]
User=%[5]s
SyslogIdentifier=%[3]s
WorkingDirectory=%[1]s
Environment=XEROOPS_APPLICATION=%[3]s XEROOPS_VERSION=%[4]s XEROOPS_ROUTE_PREFIX=%[6]s PORT=%[7]d
ExecStart=%[1]s/bin/python -P /usr/lib/xeroops/serve.py %[8]s --no-access-log --timeout-graceful-shutdown 25 --header %[9]s:%[4]s --forwarded-allow-ips ${XEROOPS_MANAGEMENT_ADDRESS} %[10]s
`, folder, bundle.ManifestName, v.Application, v.Version, userOf(v.Application), v.RoutePrefix, port,
		arguments, VersionHeader, v.App)
}

// versionOf is which version's unit this is, for units of that application.
func versionOf(application, name string) (version string, trial bool) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, serviceStem+application+"--"), ".service")
	name, trial = strings.CutSuffix(name, trialSuffix)
	return unit.UnitNameUnescape(name), trial
}
