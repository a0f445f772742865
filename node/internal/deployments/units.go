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

func writeUnit(folder, name string, d dropIn) error {
	var content bytes.Buffer
	if err := versionConf.Execute(&content, d); err != nil {
		return err
	}
	folder = filepath.Join(folder, name+".d")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "50-version.conf"), content.Bytes(), 0o644)
}

func want(folder, template, name string) error {
	folder = filepath.Join(folder, target+".wants")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Symlink(template, filepath.Join(folder, name))
}

// versionConf is the drop-in of a version, either serving or on trial.
var versionConf = template.Must(template.ParseFS(templates.Files, "services/applications/daemon/version.conf.tmpl"))

// dropIn is the data of versionConf. All values were checked by
// [bundle.Manifest.Check]: none holds white space, a quote, $ or %.
type dropIn struct {
	installed
	Dir, ManifestName, User, VersionHeader string
	ListenPort                             int
	Socket                                 string // socket unit that a serving version inherits
	Trial                                  bool
}

// serving is a version on the application's own socket.
func serving(s store, v installed) dropIn {
	return dropIn{installed: v, Dir: s.environment(v.Application, v.Version), ManifestName: bundle.ManifestName,
		User: userOf(v.Application), VersionHeader: VersionHeader, ListenPort: v.Port, Socket: socketUnit(v.Port)}
}

// trying is a version on a loopback port, for one trial.
func trying(s store, v installed) dropIn {
	d := serving(s, v)
	d.Trial, d.ListenPort, d.Socket = true, v.Port+trialOffset, ""
	return d
}

// versionOf is which version's unit this is, for units of that application.
func versionOf(application, name string) (version string, trial bool) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, serviceStem+application+"--"), ".service")
	name, trial = strings.CutSuffix(name, trialSuffix)
	return unit.UnitNameUnescape(name), trial
}
