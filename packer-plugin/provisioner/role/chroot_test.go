//go:build linux

package role

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/internal/cluster"
)

// chroot is a communicator to a Debian 13 tree without a booted system: the lab's base
// image below an overlay, in its own namespaces and without a network.
type chroot struct{ root string }

func newChroot(t *testing.T) *chroot {
	t.Helper()
	cache := os.Getenv(cluster.EnvLabCache)
	if cache == "" {
		cache = "/var/cache/xeroops-lab"
	}
	bases, err := filepath.Glob(filepath.Join(cache, "base-*", "etc", "debian_version"))
	if err != nil || len(bases) == 0 || os.Getuid() != 0 {
		t.Skip("needs root and the lab's base image, which xeroops-lab up and make test-lab build")
	}
	lower := filepath.Dir(filepath.Dir(bases[len(bases)-1]))
	work := t.TempDir()
	dir := func(name string) string {
		path := filepath.Join(work, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// An overlay's upper directory can't be on another overlay.
	if err := syscall.Mount("tmpfs", work, "tmpfs", 0, ""); err != nil {
		t.Skipf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(work, syscall.MNT_DETACH) })
	root := dir("root")
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, dir("upper"), dir("work"))
	if err := syscall.Mount("overlay", root, "overlay", 0, options); err != nil {
		t.Skipf("mount an overlay: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	return &chroot{root}
}

const enter = `mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs tmpfs "$0/run" && exec chroot "$0" /bin/sh -c "$1"`

// Start implements packer.Communicator.
func (c *chroot) Start(ctx context.Context, remote *packersdk.RemoteCmd) error {
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--net", "sh", "-c", enter, c.root, remote.Command)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = remote.Stdin, remote.Stdout, remote.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		err := cmd.Wait()
		var failed *exec.ExitError
		switch {
		case err == nil:
			remote.SetExited(0)
		case errors.As(err, &failed):
			remote.SetExited(failed.ExitCode())
		default:
			remote.SetExited(packersdk.CmdDisconnect)
		}
	}()
	return nil
}

// Upload implements packer.Communicator.
func (c *chroot) Upload(to string, from io.Reader, _ *os.FileInfo) error {
	content, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.root, to), content, 0o600)
}

// UploadDir implements packer.Communicator; the provisioner does not use it.
func (*chroot) UploadDir(string, string, []string) error { return errors.ErrUnsupported }

// Download implements packer.Communicator; the provisioner does not use it.
func (*chroot) Download(string, io.Writer) error { return errors.ErrUnsupported }

// DownloadDir implements packer.Communicator; the provisioner does not use it.
func (*chroot) DownloadDir(string, string, []string) error { return errors.ErrUnsupported }

func (c *chroot) read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(c.root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func (c *chroot) write(t *testing.T, path, content string) {
	t.Helper()
	path = filepath.Join(c.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c *chroot) has(path string) bool {
	found, err := filepath.Glob(filepath.Join(c.root, path))
	return err == nil && len(found) > 0
}

// addRepository creates an apt repository with one small package at /repo, because
// the machine has no network.
func (c *chroot) addRepository(t *testing.T) {
	t.Helper()
	tree := t.TempDir()
	for name, content := range map[string]string{
		"DEBIAN/control":          "Package: greeter\nVersion: 1.0+deb13\nArchitecture: all\nMaintainer: test <test@example.org>\nDescription: test\n",
		"DEBIAN/preinst":          "#!/bin/sh\nid app && test -e /etc/xeroops/motd\n", // users and files precede packages
		"usr/share/greeter/hello": "hello\n",
	} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), os.FileMode(modeOf([]byte(content)))); err != nil {
			t.Fatal(err)
		}
	}
	repo := filepath.Join(c.root, "repo")
	if err := os.MkdirAll(repo, 0o755); err != nil {
		t.Fatal(err)
	}
	deb := filepath.Join(repo, "greeter.deb")
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", tree, deb).CombinedOutput(); err != nil {
		t.Skipf("dpkg-deb: %v: %s", err, out)
	}
	content, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	var index bytes.Buffer
	_, _ = fmt.Fprintf(&index, "Package: greeter\nVersion: 1.0+deb13\nArchitecture: all\nMaintainer: test <test@example.org>\nDescription: test\n"+
		"Filename: ./greeter.deb\nSize: %d\nSHA256: %x\n\n", len(content), sha256.Sum256(content))
	if err := os.WriteFile(filepath.Join(repo, "Packages"), index.Bytes(), 0o644); err != nil { //nolint:gosec // apt reads it as another user
		t.Fatal(err)
	}
}

// snapshot returns the checksum of every file.
func (c *chroot) snapshot(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("chroot", c.root, "sh", "-c", `find / -xdev -path /proc -prune -o -path /dev -prune -o -path /run -prune -o -type f -print0 | xargs -0 sha256sum`).Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		files[name] = sum
	}
	return files
}
