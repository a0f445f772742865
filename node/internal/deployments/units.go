package deployments

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/templates"
)

// The units of applications. The image has their template unit; [writeUnits] adds
// a drop-in per version.
const (
	target       = "xeroops-applications.target"
	serviceStem  = "xeroops-application@"
	trialSuffix  = "--trial"
	templatePath = "/usr/lib/systemd/system/xeroops-application@.service"
	socketPath   = "/usr/lib/systemd/system/xeroops-application@.socket"
	// trialOffset is the difference between a trial's loopback port and the application's
	// port.
	trialOffset = 10000
	// VersionHeader is the header with an application's version that is in each of its
	// responses. It tells two versions apart that share a socket.
	VersionHeader = "X-Xeroops-Version"
)

// serviceUnit returns the unit in which a version serves. It is unique, since neither
// names nor versions contain "--".
func serviceUnit(application, version string) string {
	return serviceStem + application + "--" + unit.UnitNameEscape(version) + ".service"
}

// trialUnit returns the unit in which a version runs its trial.
func trialUnit(application, version string) string {
	return serviceStem + application + "--" + unit.UnitNameEscape(version) + trialSuffix + ".service"
}

// unitsOf returns a pattern that matches all service units of an application.
func unitsOf(application string) string { return serviceStem + application + "--*.service" }

// socketsPattern matches the socket units of all applications.
const socketsPattern = serviceStem + "*.socket"

// socketUnit returns the unit that holds an application's port for all its versions.
func socketUnit(port int) string { return fmt.Sprintf("xeroops-application@%d.socket", port) }

// userOf returns the user of an application, which systemd creates while a version is
// running. User names have at most 31 characters.
func userOf(application string) string {
	if name := "xeroops-app-" + application; len(name) <= 31 {
		return name
	}
	sum := sha256.Sum256([]byte(application))
	return "xeroops-app-" + hex.EncodeToString(sum[:])[:16]
}

// writeUnits writes a drop-in for every version below root to dir, and links that make the
// target start the current ones. It is a systemd.generator(7): it runs as root at boot,
// before any service, and whenever systemd reloads. So applications start without the
// daemon, Redis or S3, and the daemon needs no permission to write units. Its input was
// written by the daemon, which is not root, and so it accepts only valid manifests.
func writeUnits(root, dir string) error {
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
				writeUnit(dir, serviceUnit(a, v.Version), serviceDropIn(s, v)),
				writeUnit(dir, trialUnit(a, v.Version), trialDropIn(s, v)))
		}
		if v, ok := s.current(a); ok {
			errs = append(errs,
				linkWant(dir, templatePath, serviceUnit(a, v.Version)),
				linkWant(dir, socketPath, socketUnit(v.Port)))
		}
	}
	return errors.Join(errs...)
}

func writeUnit(dir, name string, d dropIn) error {
	var content bytes.Buffer
	if err := versionConf.Execute(&content, d); err != nil {
		return err
	}
	dir = filepath.Join(dir, name+".d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "50-version.conf"), content.Bytes(), 0o644)
}

// linkWant makes the target want a unit.
func linkWant(dir, template, name string) error {
	dir = filepath.Join(dir, target+".wants")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Symlink(template, filepath.Join(dir, name))
}

// versionConf is the template of a version's drop-in, for serving or for a trial.
var versionConf = template.Must(template.ParseFS(templates.Files, "services/applications/daemon/version.conf.tmpl"))

// dropIn is the data of versionConf. [bundle.Manifest.Check] has ensured that no value
// contains white space, a quote, $ or %.
type dropIn struct {
	installed
	Dir, ManifestName, User, VersionHeader string
	ListenPort                             int
	Socket                                 string // socket unit that a serving version inherits
	Drain, StopSeconds, TrialSeconds       int
	Trial                                  bool
}

// serviceDropIn returns the drop-in of a version on the application's own socket.
func serviceDropIn(s store, v installed) dropIn {
	return dropIn{installed: v, Dir: s.environment(v.Application, v.Version), ManifestName: bundle.ManifestName,
		User: userOf(v.Application), VersionHeader: VersionHeader, ListenPort: v.Port, Socket: socketUnit(v.Port),
		Drain: v.Limits.WithDefaults().Drain, StopSeconds: v.stopSeconds(),
		TrialSeconds: v.Limits.WithDefaults().StartTimeout + 90} // wait-for-db.sh takes up to 60 s
}

// trialDropIn returns the drop-in of a version on a loopback port.
func trialDropIn(s store, v installed) dropIn {
	d := serviceDropIn(s, v)
	d.Trial, d.ListenPort, d.Socket = true, v.Port+trialOffset, ""
	return d
}

// parseUnit returns the version of an application's unit.
func parseUnit(application, name string) (version string, trial bool) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, serviceStem+application+"--"), ".service")
	name, trial = strings.CutSuffix(name, trialSuffix)
	return unit.UnitNameUnescape(name), trial
}
