package deployments

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/templates"
)

// put writes a complete version to the disk, without an environment.
func put(t *testing.T, s store, application, version string) installed {
	t.Helper()
	m := bundle.Manifest{Schema: bundle.Schema, Application: application, Version: version, CreatedAt: time.Now(), Python: "3.13", Platform: "manylinux_2_41_x86_64",
		App: "shop.main:app", Port: 8001, RoutePrefix: "/api/shop", HealthPath: "/healthz", Workers: 3,
		Wheels: []bundle.Wheel{{File: "shop-1-py3-none-any.whl", SHA256: strings.Repeat("a", 64), Size: 1}}}
	content, sum, err := m.Encode()
	check(t, err)
	check(t, os.MkdirAll(s.environment(application, version), 0o755))
	check(t, s.complete(application, version, content))
	return installed{m, sum}
}

func TestUnitsAreGeneratedForCompleteVersions(t *testing.T) {
	s, dir := store{t.TempDir()}, t.TempDir()
	put(t, s, "shop", "1.0")
	put(t, s, "shop", "1.1+x")
	check(t, s.setCurrent("shop", "1.1+x"))
	check(t, os.MkdirAll(filepath.Join(s.root, "shop", "1.2", "bin"), 0o755))                                       // incomplete
	check(t, os.MkdirAll(filepath.Join(s.root, "lost+found"), 0o755))                                               // not an application
	check(t, os.WriteFile(filepath.Join(s.root, "shop", "1.0", bundle.ManifestName), []byte(`{"app":"x"}`), 0o644)) // corrupt
	check(t, writeUnits(s.root, dir))
	var made []string
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if !d.IsDir() {
			path, _ = filepath.Rel(dir, path)
			made = append(made, path)
		}
		return err
	}))
	want := []string{
		`xeroops-application@shop--1.1\x2bx--trial.service.d/50-version.conf`,
		`xeroops-application@shop--1.1\x2bx.service.d/50-version.conf`,
		`xeroops-applications.target.wants/xeroops-application@8001.socket`,
		`xeroops-applications.target.wants/xeroops-application@shop--1.1\x2bx.service`,
	}
	if got := strings.Join(made, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("generated\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	trying, err := os.ReadFile(filepath.Join(dir, want[0]))
	check(t, err)
	for _, line := range []string{"wait-for-db.sh", "--host 127.0.0.1 --port 18001 --workers 1", "MemoryMax=", "RuntimeMaxSec=", "Restart=no"} {
		if !strings.Contains(string(trying), line) {
			t.Errorf("the trial's unit has no %q:\n%s", line, trying)
		}
	}
	serving, err := os.ReadFile(filepath.Join(dir, want[1]))
	check(t, err)
	for _, line := range []string{"Sockets=xeroops-application@8001.socket", "User=xeroops-app-shop", "--fd 3 --workers 3", "PORT=8001", "shop.main:app"} {
		if !strings.Contains(string(serving), line) {
			t.Errorf("the unit has no %q:\n%s", line, serving)
		}
	}
}

func TestManifestOfAnotherVersionGeneratesNoUnits(t *testing.T) {
	s, dir := store{t.TempDir()}, t.TempDir()
	put(t, s, "shop", "1.0")
	check(t, os.Rename(s.environment("shop", "1.0"), s.environment("shop", "2.0")))
	check(t, os.Symlink("../../etc", filepath.Join(s.root, "shop", "current")))
	check(t, writeUnits(s.root, dir))
	if made, _ := os.ReadDir(dir); len(made) > 0 {
		t.Errorf("generated %v, want nothing", made)
	}
}

func TestVersionIsParsedFromUnitNames(t *testing.T) {
	for _, v := range []string{"1.0", "1.0+local.7", "2026.11_3", "a"} {
		if got, trial := parseUnit("my-shop", serviceUnit("my-shop", v)); got != v || trial {
			t.Errorf("%s: got %s, trial %t", v, got, trial)
		}
		if got, trial := parseUnit("my-shop", trialUnit("my-shop", v)); got != v || !trial {
			t.Errorf("trial of %s: got %s, trial %t", v, got, trial)
		}
	}
}

func TestUserNamesAreValidForSystemd(t *testing.T) {
	long := strings.Repeat("a", 40)
	if got := userOf(long); len(got) > 31 || got == userOf(long[:39]+"b") {
		t.Errorf("got %q", got)
	}
	if got := userOf("shop"); got != "xeroops-app-shop" {
		t.Errorf("got %q", got)
	}
}

// systemd starts no socket whose service is active, and a connection to the port of an
// application that was stopped by hand starts that service.
func TestEachSocketHasAServiceOfItsOwnThatEndsWithIt(t *testing.T) {
	const dir = "services/applications/files/usr/lib/systemd/system/"
	for file, want := range map[string]string{
		"xeroops-application@.socket":       "\nService=xeroops-application-idle@%i.service\n",
		"xeroops-application-idle@.service": "\nPartOf=xeroops-application@%i.socket\n",
	} {
		content, err := templates.Files.ReadFile(dir + file)
		check(t, err)
		if !strings.Contains(string(content), want) {
			t.Errorf("%s has no %q", file, want)
		}
	}
}
