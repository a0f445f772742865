//go:build linux

package labtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
)

// images brings the role images of this checkout into the lab as make images
// does, and returns the manifest's path: from the cache, what has not changed.
func (l *lab) images(flags ...string) (manifest string) {
	l.t.Helper()
	l.buildForImages()
	manifest = filepath.Join(l.t.TempDir(), "images.auto.tfvars.json")
	cmd := l.imagesCommand(manifest, flags...)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("images.sh: %v\n%s\n%s", err, out, l.log())
	}
	return manifest
}

// buildForImages builds what goes into images with make's own flags, since they
// are known again by it.
func (l *lab) buildForImages() {
	l.t.Helper()
	cmd := exec.Command("make", "--no-print-directory", "build", "BIN="+filepath.Dir(l.binary), "BINARIES=node=xeroops-node packer-plugin=packer-plugin-xeroops")
	cmd.Dir = root(l.t)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("make build: %v\n%s", err, out)
	}
}

func (l *lab) imagesCommand(manifest string, flags ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(root(l.t), "scripts", "images.sh"), append([]string{"-o", manifest}, flags...)...)
	cmd.Env = append(os.Environ(), "XEROOPS_LAB_NAME="+l.name, "XEROOPS_BIN="+filepath.Dir(l.binary))
	return cmd
}

// readManifest returns the images by role.
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
