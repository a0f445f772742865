//go:build linux

package role

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/packer-plugin/internal/imagerecord"
)

// verify is a service's verify.sh: it sees the rendered configuration and the ports of
// the service and of the role, can start services on the cluster's addresses, and leaves
// nothing behind.
const verify = `#!/bin/sh
set -eu
test "$(hello)" = hello
test "$XEROOPS_ROLE" = app
grep -qx sample /etc/app.conf
grep -qx 'tcp 8000-8099' ports
grep -qx 'tcp 22-22' "$XEROOPS_BUNDLE/ports"
"$XEROOPS_BUNDLE/scripts/starts.sh" app 8000 python3 -c 'import socket, time
s = socket.create_server(("10.0.2.10", 8000)); time.sleep(60)'
! "$XEROOPS_BUNDLE/scripts/starts.sh" app 8001 sh -c 'echo cannot; exit 1' >/tmp/said
grep -qx cannot /tmp/said
touch /etc/trace
`

// roleTree returns a small tree with every kind of file that templates have.
func roleTree() fstest.MapFS {
	file := func(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content)} }
	unit := "[Service]\nExecStart=/usr/bin/xeroops-node applications\n"
	tree := fstest.MapFS{
		"base/packages":                            file("# for all\ngreeter\n"),
		"base/files/etc/xeroops/motd":              file("base\n"),
		"base/files/usr/bin/hello":                 file("#!/bin/sh\ncat /usr/share/greeter/hello\n"),
		"base/install.sh":                          file("#!/bin/sh\nset -eu\nmkdir -p /var/lib/xeroops\nprintf '%s\\n' \"$GREETING\" >/var/lib/xeroops/greeting\n"),
		"services/applications/files/etc/app/motd": file("app\n"),
		"services/applications/install.sh":         file("#!/bin/sh\nset -eu\ntest -e elements/src/elements/__init__.py && ! test -e elements/tests\n"),
		"services/applications/files/usr/lib/systemd/system/xeroops-applications.target": file("[Unit]\nDescription=Applications\n"),
		"services/applications/files/usr/lib/systemd/system/app.service":                 file(unit),
		"services/applications/files/usr/lib/sysusers.d/app.conf":                        file("u app - \"Application\" /var/lib/app\n"),
		"services/applications/verify.sh":                                                file(verify),
	}
	for _, name := range units(cluster.ServicesOf(cluster.RoleApp)) {
		path := "services/applications/files/usr/lib/systemd/system/" + name
		if tree[path] == nil && name != "ssh.service" { // which is a package's
			tree[path] = file(unit)
		}
	}
	return tree
}

func newProvisioner(t *testing.T, tree fstest.MapFS, more map[string]any) *Provisioner {
	t.Helper()
	node := filepath.Join(t.TempDir(), "xeroops-node")
	render := "#!/bin/sh\ntest \"$*\" = 'configure --sample app /' && echo sample >/etc/app.conf\n"
	if err := os.WriteFile(node, []byte(render), 0o600); err != nil {
		t.Fatal(err)
	}
	config := map[string]any{"role": "app", "node_binary": node, "apt_sources": []string{"deb [trusted=yes] copy:/repo ./"},
		"environment": map[string]string{"GREETING": "it's $HOME"}}
	maps.Copy(config, more)
	p := &Provisioner{Version: "1.2.3", templates: tree}
	if err := p.Prepare(config); err != nil {
		t.Fatal(err)
	}
	return p
}

func provision(t *testing.T, p *Provisioner, c *chroot) error {
	t.Helper()
	ui := &packersdk.MockUi{}
	err := p.Provision(t.Context(), ui, c, nil)
	for _, m := range ui.SayMessages {
		t.Log(m.Message)
	}
	return err
}

func TestARoleIsInstalledRecordedAndSealedAndASecondRunChangesNothing(t *testing.T) {
	c := newChroot(t)
	c.addRepository(t)
	c.write(t, "etc/ssh/ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
	c.write(t, "etc/machine-id", "0123456789abcdef0123456789abcdef\n")
	c.write(t, "root/.bash_history", "export PASSWORD=x\n")
	c.write(t, "home/admin/.ssh/authorized_keys", "ssh-ed25519 AAAA\n")
	c.write(t, "var/log/syslog", "secret\n")
	c.write(t, "var/lib/cloud/instances/i-1/user-data.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
	p := newProvisioner(t, roleTree(), nil)
	if err := provision(t, p, c); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"etc/xeroops/motd": "base\n", "etc/app/motd": "app\n", "var/lib/xeroops/greeting": "it's $HOME\n", "etc/machine-id": "", "var/log/syslog": "",
	} {
		if got := c.read(t, path); got != want {
			t.Errorf("%s contains %q, want %q", path, got, want)
		}
	}
	for _, gone := range []string{"etc/ssh/ssh_host_*", "root/.bash_history", "home/admin/.ssh", "var/lib/cloud/instances", "var/lib/apt/lists/*",
		"usr/sbin/policy-rc.d", "tmp/*", "etc/hostname", "etc/trace", "etc/app.conf"} {
		if c.has(gone) {
			t.Errorf("%s was not removed", gone)
		}
	}
	if !strings.Contains(c.read(t, "etc/passwd"), "app:") {
		t.Error("the user of sysusers.d was not created")
	}
	checkRecord(t, c.read(t, imagerecord.Path))

	first := c.snapshot(t)
	if err := provision(t, p, c); err != nil {
		t.Fatal(err)
	}
	second := c.snapshot(t)
	for name, sum := range second {
		if first[name] != sum {
			t.Errorf("the second run changed %s", name)
		}
	}
	for name := range first {
		if second[name] == "" {
			t.Errorf("the second run removed %s", name)
		}
	}
}

func checkRecord(t *testing.T, content string) {
	t.Helper()
	record, err := imagerecord.Parse([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	if record.Role != "app" || record.Version != "1.2.3" {
		t.Errorf("record of role %q, version %q", record.Role, record.Version)
	}
	var found bool
	for _, p := range record.Packages {
		found = found || p == imagerecord.Package{Name: "greeter", Version: "1.0+deb13", Architecture: "all"}
	}
	if !found || len(record.Packages) < 50 {
		t.Errorf("greeter is missing in %d packages", len(record.Packages))
	}
	var materials struct {
		Format     string                  `json:"bomFormat"`
		Components []struct{ PURL string } `json:"components"`
	}
	if err := json.Unmarshal(record.SBOM, &materials); err != nil || materials.Format != "CycloneDX" || len(materials.Components) != len(record.Packages) {
		t.Errorf("the SBOM is %q with %d components, %v", materials.Format, len(materials.Components), err)
	}
	if !strings.Contains(content, "pkg:deb/debian/greeter@1.0%2Bdeb13?arch=all") && !strings.Contains(content, `pkg:deb/debian/greeter@1.0%2Bdeb13?arch=all\u0026`) {
		t.Error("the SBOM has no package URL of greeter")
	}
}

func TestInvalidRolesFailTheBuild(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(fstest.MapFS)
		want  string
	}{
		"a unit is missing": {
			func(f fstest.MapFS) {
				delete(f, "services/applications/files/usr/lib/systemd/system/xeroops-applications.target")
			},
			"xeroops-applications.target: unit not found",
		},
		"a unit is broken": {
			func(f fstest.MapFS) {
				f["services/applications/files/usr/lib/systemd/system/xeroops-applications.target"] = &fstest.MapFile{Data: []byte("[Unit]\nBogus=1\n")}
			},
			"checks failed: xeroops-applications.target",
		},
		"a verify.sh fails": {
			func(f fstest.MapFS) {
				f["services/applications/verify.sh"] = &fstest.MapFile{Data: []byte("#!/bin/sh\necho it is broken\nexit 1\n")}
			},
			"it is broken",
		},
		"install.sh fails": {
			func(f fstest.MapFS) {
				f["services/applications/install.sh"] = &fstest.MapFile{Data: []byte("#!/bin/sh\nexit 3\n")}
			},
			"exit status 3",
		},
		"a package is unknown": {
			func(f fstest.MapFS) {
				f["services/applications/packages"] = &fstest.MapFile{Data: []byte("no-such-package\n")}
			},
			"no-such-package",
		},
		"a private key": {
			func(f fstest.MapFS) {
				f["services/applications/files/etc/app/key.pem"] = &fstest.MapFile{Data: []byte("-----BEGIN RSA PRIVATE KEY-----\n")}
			},
			"/etc/app/key.pem",
		},
		"an account has a password": {
			func(f fstest.MapFS) {
				f["services/applications/install.sh"] = &fstest.MapFile{Data: []byte("#!/bin/sh\necho 'root:hunter2' | chpasswd\n")}
			},
			"root",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChroot(t)
			c.addRepository(t)
			tree := roleTree()
			test.spoil(tree)
			err := provision(t, newProvisioner(t, tree, nil), c)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if c.has("tmp/xeroops-*") {
				t.Error("the uploads were not removed")
			}
		})
	}
}

func TestAnExcludedPathMayContainASecret(t *testing.T) {
	c := newChroot(t)
	c.addRepository(t)
	tree := roleTree()
	tree["services/applications/files/etc/app/key.pem"] = &fstest.MapFile{Data: []byte("-----BEGIN RSA PRIVATE KEY-----\n")}
	if err := provision(t, newProvisioner(t, tree, map[string]any{"secret_scan_exclude": []string{"/etc/app"}}), c); err != nil {
		t.Error(err)
	}
}

func TestInvalidConfigurationIsRefused(t *testing.T) {
	for want, config := range map[string]map[string]any{
		"unknown role":              {"role": "database"},
		"node_binary":               {"role": "app", "node_binary": "/nowhere/xeroops-node"},
		"not a valid variable name": {"role": "app", "environment": map[string]string{"A B": "x"}},
		"not an absolute path":      {"role": "app", "secret_scan_exclude": []string{"etc; rm"}},
	} {
		if err := new(Provisioner).Prepare(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", config, err, want)
		}
	}
}
