// Package project reads what a developer says of an application: pyproject.toml
// with its table [tool.xeroops]. Everything that can be wrong in it is found here,
// before anything is built.
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
)

// ErrInvalid marks what a developer has to mend in the project.
var ErrInvalid = errors.New("the project")

// Project is an application's source.
type Project struct {
	Dir string
	// Settings is a manifest with what [tool.xeroops] says, and nothing else.
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
}

// keys are those of settings as they have to be written: the decoder takes them in
// any case.
var keys = []string{"name", "app", "port", "route_prefix", "health_path", "workers"}

// The defaults of [tool.xeroops].
const (
	defaultHealthPath = "/healthz" // elements' own
	defaultWorkers    = 1
)

const example = `

[tool.xeroops]
app = "notes.main:app"
port = 8001
route_prefix = "/api/notes"`

// Read reads the project in a folder. Its errors are ErrInvalid.
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
		return Project{}, errors.New("there is no such file; name the folder of a Python project")
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
		return Project{}, errors.New("it has no [project] with a name")
	case f.Tool.XeroOps == nil, !found.IsDefined("tool", "xeroops"):
		return Project{}, errors.New("it has no [tool.xeroops], which says how to run the application; such as:" + example)
	}
	s := *f.Tool.XeroOps
	for _, key := range found.Keys() {
		if len(key) > 2 && key[0] == "tool" && key[1] == "xeroops" && !slices.Contains(keys, key[2]) {
			return Project{}, fmt.Errorf("[tool.xeroops] has %q, which is none of %s", key[2:], strings.Join(keys, ", "))
		}
	}
	given := func(key string) bool { return found.IsDefined("tool", "xeroops", key) }
	if !given("name") {
		s.Name = strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(f.Project.Name))
	}
	if !given("health_path") {
		s.HealthPath = defaultHealthPath
	}
	if !given("workers") {
		s.Workers = defaultWorkers
	}
	p := Project{Settings: bundle.Manifest{
		Application: s.Name, App: s.App, Port: s.Port, RoutePrefix: s.RoutePrefix, HealthPath: s.HealthPath, Workers: s.Workers,
	}}
	if err := p.Settings.CheckSettings(); err != nil {
		return p, fmt.Errorf("[tool.xeroops]: %w", err)
	}
	return p, nil
}
