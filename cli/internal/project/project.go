// Package project reads the settings of an application: the table [tool.xeroops] of
// pyproject.toml. It validates them completely, before anything is built.
package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/pep"
)

// ErrInvalid marks errors that a developer has to fix in the project.
var ErrInvalid = errors.New("invalid project")

// Project is an application's source.
type Project struct {
	Dir string
	// Settings is a manifest with only the values of [tool.xeroops].
	Settings bundle.Manifest
}

type file struct {
	Project *struct {
		Name string `toml:"name"`
	} `toml:"project"`
	Tool struct {
		XeroOps *settings `toml:"xeroops"`
	} `toml:"tool"`
}

type settings struct {
	Name        string `toml:"name"`
	App         string `toml:"app"`
	Port        int    `toml:"port"`
	RoutePrefix string `toml:"route_prefix"`
	HealthPath  string `toml:"health_path"`
	Workers     int    `toml:"workers"`
	HealthHost  string `toml:"health_host"`
	HealthProto string `toml:"health_proto"`

	Timeout      *int `toml:"timeout"`
	Drain        *int `toml:"drain"`
	StartTimeout *int `toml:"start_timeout"`
}

// limits returns the time limits. One of 0 seconds is invalid, and not the default.
func (s settings) limits() bundle.Limits {
	seconds := func(given *int) int {
		switch {
		case given == nil:
			return 0
		case *given == 0:
			return -1
		}
		return *given
	}
	return bundle.Limits{Timeout: seconds(s.Timeout), Drain: seconds(s.Drain), StartTimeout: seconds(s.StartTimeout)}
}

// keys are the valid keys of settings. They are checked because the decoder ignores
// case.
var keys = []string{"name", "app", "port", "route_prefix", "health_path", "workers", "health_host", "health_proto", "timeout", "drain", "start_timeout"}

// The defaults of [tool.xeroops].
const (
	defaultHealthPath = "/healthz" // that of elements
	defaultWorkers    = 1
)

const example = `

[tool.xeroops]
app = "notes.main:app"
port = 8001
route_prefix = "/api/notes"`

// Read reads the project in a directory. Its errors are ErrInvalid.
func Read(dir string) (Project, error) {
	path := filepath.Join(dir, "pyproject.toml")
	p, err := read(path)
	if err != nil {
		return p, fmt.Errorf("%w: %s: %w", ErrInvalid, path, err)
	}
	p.Dir = dir
	return p, nil
}

func read(path string) (Project, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Project{}, errors.New("no such file; name the directory of a Python project")
	} else if err != nil {
		return Project{}, err
	}
	var f file
	found, err := toml.Decode(string(content), &f)
	if err != nil {
		return Project{}, err
	}
	switch {
	case f.Project == nil || f.Project.Name == "":
		return Project{}, errors.New("missing [project] with a name")
	case f.Tool.XeroOps == nil, !found.IsDefined("tool", "xeroops"):
		return Project{}, errors.New("missing [tool.xeroops], the settings to run the application, such as:" + example)
	}
	s := *f.Tool.XeroOps
	for _, key := range found.Keys() {
		if len(key) > 2 && key[0] == "tool" && key[1] == "xeroops" && !slices.Contains(keys, key[2]) {
			return Project{}, fmt.Errorf("[tool.xeroops]: unknown key %q; valid keys: %s", key[2:], strings.Join(keys, ", "))
		}
	}
	given := func(key string) bool { return found.IsDefined("tool", "xeroops", key) }
	if !given("name") {
		name, err := pep.ParseName(f.Project.Name)
		if err != nil {
			return Project{}, fmt.Errorf("[project]: %w", err)
		}
		s.Name = string(name)
	}
	if !given("health_path") {
		s.HealthPath = defaultHealthPath
	}
	if !given("workers") {
		s.Workers = defaultWorkers
	}
	p := Project{Settings: bundle.Manifest{
		Application: s.Name, App: s.App, Port: s.Port, RoutePrefix: s.RoutePrefix, HealthPath: s.HealthPath, Workers: s.Workers,
		HealthRequest: bundle.HealthRequest{HealthHost: s.HealthHost, HealthProto: s.HealthProto}, Limits: s.limits(),
	}}
	if err := p.Settings.CheckSettings(); err != nil {
		return p, fmt.Errorf("[tool.xeroops]: %w", err)
	}
	return p, nil
}
