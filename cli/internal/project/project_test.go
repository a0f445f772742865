package project

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `[project]
name = "My.Notes_-_service"
version = "1.0"
[tool.xeroops]
app = "notes.main:app"
port = 8001
route_prefix = "/api/notes"
`

func write(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pyproject.toml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReadFillsInDefaults(t *testing.T) {
	p, err := Read(write(t, good))
	if err != nil {
		t.Fatal(err)
	}
	s := p.Settings
	if s.Application != "my-notes-service" || s.HealthPath != "/healthz" || s.Workers != 1 || s.Port != 8001 {
		t.Errorf("read %+v", s)
	}
}

func TestReadRejectsInvalidProjects(t *testing.T) {
	for _, c := range []struct{ name, old, replacement, want string }{
		{"no TOML", "[project]", "[project", "line 2"},
		{"no project", good, "", "missing [project] with a name"},
		{"no table", "[tool.xeroops]", "[tool.other]", "missing [tool.xeroops]"},
		{"a type", "port = 8001", `port = "8001"`, "port"},
		{"no app", `app = "notes.main:app"`, "", "name the ASGI application as module:attribute"},
		{"an app that is a command", "notes.main:app", "notes.main:app; rm -rf /", "module:attribute"},
		{"no port", "port = 8001", "", "port 0: use one of 8000 to 8099"},
		{"another port", "8001", "80", "port 80: use one of"},
		{"a prefix elsewhere", "/api/notes", "/notes", "below /api/"},
		{"all of the API", "/api/notes", "/api/", "below /api/"},
		{"a slash too many", `/api/notes"`, `/api/notes/"`, "without a slash at its end"},
		{"a parent directory", "/api/notes", "/api/../etc", "below /api/"},
		{"an unknown key", "port = 8001", "port = 8001\nprot = 1", "prot"},
		{"a key in capitals", "port = 8001", "port = 8001\nWorkers = 4", "Workers"},
		{"a table in capitals", "[tool.xeroops]", "[tool.XeroOps]", "missing [tool.xeroops]"},
		{"no workers", "port = 8001", "port = 8001\nworkers = 0", "workers 0: use 1 to 64"},
		{"a host with a header", "port = 8001", "port = 8001\nhealth_host = \"x hdr Y z\"", "health_host"},
		{"another protocol", "port = 8001", "port = 8001\nhealth_proto = \"ftp\"", "health_proto \"ftp\": use http or https"},
		{"a timeout of nothing", "port = 8001", "port = 8001\ntimeout = 0", "timeout -1: use 1 to 3600 seconds"},
		{"a drain of a day", "port = 8001", "port = 8001\ndrain = 86400", "drain 86400: use 1 to 3600 seconds"},
		{"too many workers", "port = 8001", "port = 8001\nworkers = 65", "workers 65"},
		{"no path", "port = 8001", "port = 8001\nhealth_path = \"healthz\"", "health_path"},
		{"an invalid name", "port = 8001", "port = 8001\nname = \"../notes\"", "application name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(write(t, strings.Replace(good, c.old, c.replacement, 1)))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestReadNeedsAProject(t *testing.T) {
	if _, err := Read(t.TempDir()); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func TestTheSampleServiceIsValid(t *testing.T) {
	if _, err := Read("../../../examples/service"); err != nil {
		t.Error(err)
	}
}
