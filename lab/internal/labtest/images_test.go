//go:build linux

package labtest

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/xeroops/xeroops/internal/cluster"
)

// images registers the role images of this checkout in the lab, as make images does,
// building those that are not in the cache. It returns the path of the manifest.
func (l *lab) images(flags ...string) (manifest string) {
	l.t.Helper()
	l.buildForImages()
	return l.bakeImages(flags...)
}

// bakeImages is images without building binaries.
func (l *lab) bakeImages(flags ...string) (manifest string) {
	l.t.Helper()
	manifest = filepath.Join(l.t.TempDir(), "images.auto.tfvars.json")
	cmd := l.imagesCommand(manifest, flags...)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("images.sh: %v\n%s\n%s", err, out, l.log())
	}
	return manifest
}

// buildForImages builds the binaries in images with make's flags. Images are cached by
// a digest that includes the binaries, so the flags must be the same.
func (l *lab) buildForImages() {
	l.t.Helper()
	cmd := exec.Command("make", "--no-print-directory", "build", "BIN="+filepath.Dir(l.binary),
		"BINARIES=node=xeroops-node packer-plugin=packer-plugin-xeroops packer-plugin/internal/bake=bake")
	cmd.Dir = root(l.t)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("make build: %v\n%s", err, out)
	}
}

func (l *lab) imagesCommand(manifest string, flags ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(root(l.t), "scripts", "images.sh"), append([]string{"-o", manifest}, flags...)...)
	cmd.Env = append(os.Environ(), cluster.EnvLabName+"="+l.name, cluster.EnvBin+"="+filepath.Dir(l.binary))
	return cmd
}

// readManifest returns the image ids of a manifest by role.
func readManifest(t testing.TB, path string) map[cluster.Role]string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	var variables struct {
		Images map[cluster.Role]string `json:"image_ids"`
	}
	must(t, json.Unmarshal(content, &variables))
	return variables.Images
}

// TestRoleImages builds the images, or takes them from the cache, and checks their
// content, and that a later lab gets the same ones from the cache.
func TestRoleImages(t *testing.T) {
	l := newLab(t)
	l.up()
	first := l.describeImages(readManifest(t, l.images()))
	if len(first) != len(cluster.Roles()) {
		t.Fatalf("images of %v, want one of each role", slices.Collect(maps.Keys(first)))
	}
	for role, image := range first {
		t.Run("Sealed/"+string(role), func(t *testing.T) { checkSealed(l.with(t), image) })
	}
	l.run("down")
	l.up()
	began := time.Now()
	manifest := l.bakeImages()
	t.Logf("five images from the cache: %.1f s", time.Since(began).Seconds())
	again := readManifest(t, manifest)
	t.Run("LaterLabGetsTheSame", func(t *testing.T) {
		for role, image := range l.with(t).describeImages(again) {
			for _, tag := range []string{"xeroops:role", "xeroops:content-sha256", "xeroops:version", "xeroops:packages"} {
				if got, want := image.tags[tag], first[role].tags[tag]; got != want || want == "" {
					t.Errorf("%s has %s = %q, had %q", role, tag, got, want)
				}
			}
			if !strings.HasPrefix(image.name, "xeroops-"+string(role)+"-") || image.tags["Name"] == "" {
				t.Errorf("%s is %+v", role, image) // the time in the name differs if another lab has rebuilt it
			}
		}
	})
}

// roleImage has the attributes of an image in the account.
type roleImage struct {
	id, name string
	tags     map[string]string
}

func (l *lab) describeImages(ids map[cluster.Role]string) map[cluster.Role]roleImage {
	l.t.Helper()
	images := map[cluster.Role]roleImage{}
	for role, id := range ids {
		out, err := l.ec2.DescribeImages(l.t.Context(), &ec2.DescribeImagesInput{ImageIds: []string{id}})
		must(l.t, err)
		image := roleImage{id, aws.ToString(out.Images[0].Name), map[string]string{}}
		for _, tag := range out.Images[0].Tags {
			image.tags[*tag.Key] = *tag.Value
		}
		if image.tags["xeroops:role"] != string(role) || image.tags["xeroops:content-sha256"] == "" {
			l.t.Errorf("image of %s has the tags %v", role, image.tags)
		}
		images[role] = image
	}
	return images
}

// secret matches content, and absent paths, that an image must not have. debian matches
// directories of Debian's packages, which contain sample keys.
var (
	secret = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(AKIA|ASIA)[0-9A-Z]{16}\b|(?i)aws_secret_access_key\s*=|(?m)^\s*PrivateKey\s*=\s*[A-Za-z0-9+/]{43}=`)
	debian = regexp.MustCompile(`^/(usr/(bin|sbin|lib|libexec|include|share)|var/lib/dpkg)/`)
	absent = regexp.MustCompile(`^/(etc/ssh/ssh_host_|root/\.ssh/|home/[^/]+/\.ssh/|root/\.bash_history|var/lib/cloud/instances?/|var/log/journal/.|var/lib/systemd/random-seed|etc/ssl/private/ssl-cert)`)
)

// checkSealed checks an image's layer on the host, independently of what sealed it.
func checkSealed(l *lab, image roleImage) {
	layer := filepath.Join(l.config.StateDir(), "images", image.id)
	var files, bytes int64
	must(l.t, filepath.WalkDir(layer, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files, bytes = files+1, bytes+info.Size()
		inside := strings.TrimPrefix(path, layer)
		if absent.MatchString(inside) {
			l.t.Errorf("%s is in the image", inside)
		}
		if strings.HasPrefix(inside, "/var/log/") && info.Size() > 0 {
			l.t.Errorf("%s has %d bytes of the build's log", inside, info.Size())
		}
		if debian.MatchString(inside) && !strings.HasPrefix(inside, "/usr/share/xeroops/") {
			return nil
		}
		content, err := os.ReadFile(path)
		if found := secret.Find(content); found != nil {
			l.t.Errorf("%s holds what looks like a secret: %.20s…", inside, found)
		}
		return err
	}))
	if id, err := os.ReadFile(filepath.Join(layer, "etc/machine-id")); err == nil && len(id) > 0 { // if absent, it is the base image's, which is empty
		l.t.Errorf("machine-id is %q", id)
	}
	l.t.Logf("%s: %d files, %d MiB, %s packages", image.name, files, bytes>>20, image.tags["xeroops:packages"])
}

// checkRole checks a machine that runs the image of its role. identities collects what
// must be unique to a machine.
func checkRole(l *lab, n node, imageID string, identities map[string]string) {
	if i, _ := l.instance(n.name); i.ImageID != imageID || i.Role != string(n.role) {
		l.t.Errorf("%s of role %s runs on %s, want %s of role %s", n.name, i.Role, i.ImageID, imageID, n.role)
	}
	if got := l.shell(n.name, `sed -n 's/^ "role": "\(.*\)",$/\1/p' /usr/share/xeroops/image.json`); got != string(n.role) {
		l.t.Errorf("%s: image.json has role %q", n.name, got)
	}
	if got := l.shell(n.name, "systemctl --failed --no-legend --plain"); got != "" {
		l.t.Errorf("%s: failed units: %s", n.name, got)
	}
	enabled := "infrastructure-ready.service ssh.service chrony.service nftables.service"
	if got := l.shell(n.name, "systemctl is-enabled "+enabled+" | sort -u"); got != "enabled" {
		l.t.Errorf("%s: is-enabled %s: %s", n.name, enabled, got)
	}
	for _, s := range cluster.ServicesOf(n.role) {
		want := "disabled" // started by xeroops-node boot
		if s.Unit == "ssh.service" {
			want = "enabled"
		}
		got := l.shell(n.name, "systemctl is-enabled "+s.Unit+" || true")
		if got != want && got != "static" { // a static unit has no [Install] section
			l.t.Errorf("%s: %s is %s, want %s", n.name, s.Unit, got, want)
		}
	}
	for _, path := range []string{"/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"} {
		identity := l.shell(n.name, "cut -d' ' -f1,2 "+path)
		if other := identities[identity]; other != "" || identity == "" {
			l.t.Errorf("%s: %s is %q, as on %s", n.name, path, identity, other)
		}
		identities[identity] = n.name
	}
	l.checkReport(n, imageID)
}

// checkReport checks a node's boot report and logs how long its boot took.
func (l *lab) checkReport(n node, imageID string) {
	report := l.bootReport(clusterName, n.name)
	if report.State != cluster.BootReady || report.ReadyAt == nil || report.ImageID != imageID {
		l.t.Fatalf("%s: boot report is %+v", n.name, report)
	}
	l.t.Logf("%s: ready %.1f s after infrastructure-ready began", n.name, report.ReadyAt.Sub(report.StartedAt).Seconds())
}
