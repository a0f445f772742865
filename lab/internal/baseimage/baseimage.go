//go:build linux

// Package baseimage builds the root file systems of the lab's machines: a Debian 13
// tree like that of Debian's EC2 image, and images captured from machines on top of
// it. Layers are directories that machines share and that are never modified.
package baseimage

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/lab/internal/tree"
	"golang.org/x/sys/unix"
)

// Base describes the base image.
type Base struct {
	// CacheDir holds built trees, named after a digest of how they are built. The
	// default is $XEROOPS_LAB_CACHE, or else /var/cache/xeroops-lab.
	CacheDir string
	// StateDir holds the layer that adds the lab's CA certificate.
	StateDir string
	// Mirror is the URL of a Debian mirror. The default is the one in the host's apt
	// sources, or else mmdebstrap's.
	Mirror string
	// CACertificate, in PEM, is added to the machines' trusted certificates.
	CACertificate []byte
}

const suite = "trixie"

// packages lists packages of Debian's EC2 image that are not of priority important,
// as far as machines here need them.
const packages = "ca-certificates,cloud-init,curl,dbus,iproute2,iputils-ping,netcat-openbsd," +
	"openssh-server,python3,sudo,systemd,systemd-sysv"

//go:embed customize.sh
var customizeScript string

//go:embed 90_lab.cfg
var cloudConfig []byte

// Build returns the layers of the base image, top first, and builds those that are not
// in the cache, which takes half a minute. It is safe for concurrent use by several
// processes.
func Build(ctx context.Context, b Base) (layers []string, err error) {
	b.CacheDir = cmp.Or(b.CacheDir, os.Getenv(cluster.EnvLabCache), "/var/cache/xeroops-lab")
	b.Mirror = cmp.Or(b.Mirror, hostMirror("/etc/apt"))
	name := "base-" + hash(suite, packages, customizeScript, string(cloudConfig), b.Mirror)
	root := filepath.Join(b.CacheDir, name)
	err = once(root, func(tmp string, lock *os.File) error { return b.debootstrap(ctx, tmp, lock) })
	if err != nil {
		return nil, fmt.Errorf("build base image: %w", err)
	}
	if len(b.CACertificate) == 0 {
		return []string{root}, nil
	}
	ca := filepath.Join(b.StateDir, "ca-"+hash(name, string(b.CACertificate)))
	err = once(ca, func(tmp string, lock *os.File) error { return trust(ctx, root, tmp, b.CACertificate, lock) })
	if err != nil {
		return nil, fmt.Errorf("add the lab's CA to the base image: %w", err)
	}
	return []string{ca, root}, nil
}

// MirrorURL returns the URL of the Debian mirror in the layers' apt sources.
func MirrorURL(layers []string) (string, error) {
	for _, l := range layers {
		b, err := os.ReadFile(filepath.Join(l, "etc/apt/sources.list"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("find Debian mirror of image: %w", err)
		}
		if f := strings.Fields(string(b)); len(f) > 1 {
			return f[1], nil
		}
	}
	return "", errors.New("find Debian mirror of image: no layer has an etc/apt/sources.list")
}

// Identity returns a digest of the layers' recipe and packages. Layers with the same
// identity are interchangeable as the base of a captured image.
func Identity(layers []string) (string, error) {
	var parts []string
	for _, l := range layers {
		status, err := os.ReadFile(filepath.Join(l, "var/lib/dpkg/status"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("identify base image: %w", err)
		}
		parts = append(parts, filepath.Base(l), string(status))
	}
	return hash(parts...), nil
}

func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return fmt.Sprintf("%x", sum[:8])
}

// once creates dir unless it exists. It builds in a temporary directory under a lock,
// so that dir is complete once it exists. Programs started by build inherit the lock,
// and hold it even if this process dies.
func once(dir string, build func(tmp string, lock *os.File) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	tmp := dir + ".new"
	if err := tree.Remove(tmp); err != nil { // left by a build that was killed
		return err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	if err := build(tmp, lock); err != nil {
		return errors.Join(err, tree.Remove(tmp))
	}
	return os.Rename(tmp, dir)
}

func (b Base) debootstrap(ctx context.Context, dir string, lock *os.File) error {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return fmt.Errorf("mmdebstrap is not on PATH; install Debian's package mmdebstrap: %w", err)
	}
	aux, err := os.MkdirTemp("", "xeroops-lab-base-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(aux)
	hook, cfg := filepath.Join(aux, "customize.sh"), filepath.Join(aux, "90_lab.cfg")
	if err := os.WriteFile(hook, []byte(customizeScript), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(cfg, cloudConfig, 0o644); err != nil {
		return err
	}
	args := []string{"--mode=root", "--variant=important", "--components=main", "--include=" + packages,
		"--customize-hook=copy-in " + cfg + " /etc/cloud/cloud.cfg.d", "--customize-hook=" + hook, suite, dir}
	if b.Mirror != "" {
		args = append(args, b.Mirror)
	}
	return run(ctx, lock, "mmdebstrap", args...)
}

// mirrorURL matches the URL of Debian's main archive in apt sources of either format.
var mirrorURL = regexp.MustCompile(`(?m)^(?:URIs:|deb )[^#\n]*?(https?://\S+/debian/?)(?:\s|$)`)

// hostMirror returns the mirror in the host's apt sources, or an empty string.
func hostMirror(etcApt string) string {
	files, _ := filepath.Glob(filepath.Join(etcApt, "sources.list.d", "*.sources"))
	lists, _ := filepath.Glob(filepath.Join(etcApt, "sources.list.d", "*.list"))
	files = append(append(files, filepath.Join(etcApt, "sources.list")), lists...)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if m := mirrorURL.FindSubmatch(b); m != nil {
			return string(m[1])
		}
	}
	return ""
}

// trust creates a layer that adds a CA certificate to those of the layer below. It
// mounts the new layer above and runs update-ca-certificates there.
func trust(ctx context.Context, below, layer string, pem []byte, lock *os.File) error {
	dir := filepath.Join(layer, "usr/local/share/ca-certificates")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "xeroops-lab.crt"), pem, 0o644); err != nil {
		return err
	}
	work := layer + ".work"
	defer func() { _ = tree.Remove(work) }() // if it fails, the next build removes the rest
	if err := os.MkdirAll(filepath.Join(work, "root"), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(work, "work"), 0o755); err != nil {
		return err
	}
	const script = `mount -t overlay -o "lowerdir=$0,upperdir=$1,workdir=$2/work" overlay "$2/root"
exec chroot "$2/root" update-ca-certificates`
	return run(ctx, lock, "sh", "-ec", script, below, layer, work)
}

// run runs a program in its own mount and PID namespaces. Its mounts end with it, and
// all its processes end with this process, so that removing the tree later cannot
// descend into directories of the host.
func run(ctx context.Context, lock *os.File, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, "unshare",
		append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.ExtraFiles = []*os.File{lock}
	runtime.LockOSThread() // Pdeathsig is sent when the starting thread ends (prctl(2))
	defer runtime.UnlockOSThread()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	for _, k := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		if v := os.Getenv(k); v != "" {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, lastLines(out, 15))
	}
	return nil
}

func lastLines(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
