package configure

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/xeroops/xeroops/internal/cluster"
)

func rendered(t *testing.T, role cluster.Role, texts map[string]string) (map[string]File, error) {
	t.Helper()
	files := fstest.MapFS{}
	for name, text := range texts {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	d, err := Sample(role)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Render(files, d)
	byPath := map[string]File{}
	for _, f := range all {
		byPath[f.Path] = f
	}
	return byPath, err
}

func TestTheFirstLineSetsModeOwnerAndUnits(t *testing.T) {
	files, err := rendered(t, cluster.RoleManagement, map[string]string{
		"services/redis/config/etc/redis/redis.conf.tmpl": "{{/* mode=0640 owner=redis:adm unit=redis-server.service,x.service */ -}}\nbind {{ .Address }}\n",
		"services/redis/config/etc/plain.tmpl":            "hello\n",
		"base/config/etc/motd.tmpl":                       "{{/* owner=daemon unit=none */ -}}\nhello\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]File{
		"/etc/redis/redis.conf": {Mode: 0o640, Owner: "redis", Group: "adm", Units: []string{"redis-server.service", "x.service"}, Content: []byte("bind 10.0.2.20\n")},
		"/etc/plain":            {Mode: 0o644, Owner: "root", Group: "root", Content: []byte("hello\n")},
		"/etc/motd":             {Mode: 0o644, Owner: "daemon", Group: "daemon", Units: []string{}, Content: []byte("hello\n")},
	} {
		want.Path = path
		if got := files[path]; !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestAnInvalidFirstLineIsAnError(t *testing.T) {
	for _, line := range []string{"{{/* mod=0600 */ -}}", "{{/* mode=rw */ -}}", "{{/* 0600 */ -}}"} {
		if _, err := rendered(t, cluster.RoleDB, map[string]string{"services/etcd/config/etc/secret.tmpl": line}); err == nil {
			t.Errorf("%s was accepted", line)
		}
	}
}

func TestTemplatesSeeTheCluster(t *testing.T) {
	files, err := rendered(t, cluster.RoleDB, map[string]string{"services/etcd/config/x.tmpl": strings.Join([]string{
		`{{ range nodes "db" }}{{ .Name }}={{ .Address }} {{ end }}`,
		`{{ management }}`, `{{ .Config.SHARED_BUFFERS | default "128MB" }}`, `{{ .Config.XEROOPS_NODE }}`,
		`{{ credential "POSTGRES_APP_PASSWORD" }}`, `{{ .CPUs }} {{ .MemoryMiB }}`}, "\n")})
	if err != nil {
		t.Fatal(err)
	}
	want := "db1=10.0.2.30 db2=10.0.4.31 \n10.0.2.20\n128MB\ndb1\nsample-password-not-secret-0123456789-abcde\n2 2048"
	if got := string(files["/x"].Content); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAMissingCredentialIsNamed(t *testing.T) {
	_, err := rendered(t, cluster.RoleApp, map[string]string{"services/deployments/config/x.tmpl": `{{ credential "POSTGRES_SUPERUSER_PASSWORD" }}`})
	if err == nil || !strings.Contains(err.Error(), "POSTGRES_SUPERUSER_PASSWORD") {
		t.Errorf("got %v", err)
	}
}

func TestARoleGetsTheTemplatesOfBaseAndOfItsServices(t *testing.T) {
	files, err := rendered(t, cluster.RoleApp, map[string]string{
		"base/config/x.tmpl": "base", "services/firewall/config/y.tmpl": "firewall", "services/etcd/config/z.tmpl": "etcd"})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || string(files["/x"].Content) != "base" || string(files["/y"].Content) != "firewall" {
		t.Errorf("got %v", files)
	}
}

func TestEveryRolesTemplatesRender(t *testing.T) {
	for _, role := range cluster.Roles() {
		dir := t.TempDir()
		files, err := RenderSample(role, dir)
		if err != nil {
			t.Errorf("role %s: %v", role, err)
		}
		for _, f := range files {
			info, err := os.Stat(filepath.Join(dir, f.Path))
			if err != nil || info.Mode() != f.Mode {
				t.Errorf("role %s: %s: %v, %v", role, f.Path, info, err)
			}
		}
	}
}
