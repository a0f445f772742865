package cluster

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/templates"
)

func TestServiceTableIsWellFormed(t *testing.T) {
	unit := regexp.MustCompile(`^[a-z0-9@-]+\.(service|target)$`)
	names := map[string]bool{}
	for _, s := range Services() {
		if names[s.Name] {
			t.Errorf("service %s: duplicate row", s.Name)
		}
		names[s.Name] = true
		if len(s.Roles) == 0 {
			t.Errorf("service %s has no role", s.Name)
		}
		if s.Unit == "" {
			if len(s.Ports) > 0 || s.Health != (Health{}) {
				t.Errorf("service %s has no unit, so it can't have ports or a health check", s.Name)
			}
			continue
		}
		if !unit.MatchString(s.Unit) {
			t.Errorf("service %s: %q is not a unit name", s.Name, s.Unit)
		}
		for _, r := range s.Roles {
			if _, err := ParseRole(string(r)); err != nil {
				t.Errorf("service %s: %v", s.Name, err)
			}
		}
		for _, p := range s.Ports {
			checkPort(t, s.Name, p)
		}
		checkHealth(t, s)
	}
}

func checkHealth(t *testing.T, s Service) {
	t.Helper()
	switch s.Health.Type {
	case "unit":
		if s.Health.Port != 0 {
			t.Errorf("service %s: a health check of type unit needs no port", s.Name)
		}
	case "tcp", "http", "https", "etcd":
		if s.Health.Port < 1 {
			t.Errorf("service %s: a health check of type %s needs a port", s.Name, s.Health.Type)
		}
	default:
		t.Errorf("service %s: health check %q is unknown; valid values: tcp, http, https, etcd, unit", s.Name, s.Health.Type)
	}
}

func checkPort(t *testing.T, service string, p Port) {
	t.Helper()
	if p.Port < 1 || p.Last() > 65535 {
		t.Errorf("service %s: port %s is out of range", service, p)
	}
	if p.ToPort != 0 && p.ToPort <= p.Port {
		t.Errorf("service %s: to_port %d must be above port %d", service, p.ToPort, p.Port)
	}
	if p.Protocol != "tcp" && p.Protocol != "udp" {
		t.Errorf("service %s: protocol %q is neither tcp nor udp", service, p.Protocol)
	}
	for _, from := range p.From {
		if from == FromInternet || from == FromVPN {
			continue
		}
		if _, err := ParseRole(from); err != nil {
			t.Errorf("service %s, port %d: %v", service, p.Port, err)
		}
	}
}

func TestEveryServiceHasADirectoryAndEveryDirectoryAService(t *testing.T) {
	entries, err := fs.ReadDir(templates.Files, "services")
	if err != nil {
		t.Fatal(err)
	}
	var directories, services []string
	for _, e := range entries {
		directories = append(directories, "services/"+e.Name())
	}
	for _, s := range Services() {
		services = append(services, s.TemplateDir())
	}
	slices.Sort(services)
	if !slices.Equal(directories, services) {
		t.Errorf("templates has the directories %v, service-ports.json has the services %v", directories, services)
	}
	parts := []string{"packages", "files", "config", "daemon", "install.sh", "verify.sh"}
	for _, directory := range append(directories, "base") {
		entries, err := fs.ReadDir(templates.Files, directory)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !slices.Contains(parts, e.Name()) {
				t.Errorf("templates/%s/%s is never used; a service's directory has %v", directory, e.Name(), parts)
			}
		}
	}
}

// A role is the union of its parts, so two of them must not write the same file.
func TestNoTwoPartsOfARoleInstallTheSameFile(t *testing.T) {
	for _, role := range Roles() {
		owners := map[string]string{}
		for _, dir := range TemplateDirs(role) {
			for _, tree := range []string{"files", "config"} {
				_ = fs.WalkDir(templates.Files, path.Join(dir, tree), func(name string, e fs.DirEntry, err error) error {
					if err != nil || e.IsDir() {
						return nil // a part without this tree
					}
					file := strings.TrimSuffix(strings.TrimPrefix(name, path.Join(dir, tree)), ".tmpl")
					if other := owners[file]; other != "" {
						t.Errorf("role %s: %s is in both %s and %s", role, file, other, dir)
					}
					owners[file] = dir
					return nil
				})
			}
		}
	}
}

func TestNoPortOfARoleIsListedTwice(t *testing.T) {
	for _, role := range Roles() {
		seen := map[int32]string{}
		for _, s := range ServicesOf(role) {
			for _, p := range s.Ports {
				for n := p.Port; n <= p.Last(); n++ {
					if other, ok := seen[n]; ok {
						t.Errorf("role %s: port %d is both %s's and %s's", role, n, other, s.Name)
					}
					seen[n] = s.Name
				}
			}
		}
	}
}

func TestPortString(t *testing.T) {
	for want, p := range map[string]Port{
		"443/tcp":       {Port: 443, Protocol: "tcp"},
		"8000-8099/tcp": {Port: 8000, ToPort: 8099, Protocol: "tcp"},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v is written %s, want %s", p, got, want)
		}
	}
}

func TestOnlyTheEdgeAndTheGatewayAreOpenToTheInternet(t *testing.T) {
	for _, s := range Services() {
		for _, p := range s.Ports {
			if !slices.Contains(p.From, FromInternet) {
				continue
			}
			for _, r := range s.Roles {
				if r != RoleLoadBalancer && r != RoleWireGuard {
					t.Errorf("%s opens port %d of %s to the internet", s.Name, p.Port, r)
				}
			}
		}
	}
}
