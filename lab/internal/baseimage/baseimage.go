//go:build linux

// Package baseimage makes what the lab's machines boot from: a Debian 13 tree like
// that of Debian's EC2 image, and images captured from machines on top of it.
// Layers are folders, never written to once made, and shared by all machines.
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

	"github.com/xeroops/xeroops/lab/internal/tree"
	"golang.org/x/sys/unix"
)

// Base describes the base image.
type Base struct {
	// CacheDir keeps built trees under a name made of their recipe; the default is
	// $XEROOPS_LAB_CACHE, else /var/cache/xeroops-lab.
	CacheDir string
	// StateDir keeps the layer that depends on this lab: the trust in its CA.
	StateDir string
	// Mirror is a Debian mirror's URL; empty is the one of the host's apt sources,
	// else mmdebstrap's default.
	Mirror string
	// CACertificate (PEM) is trusted by everything on the machine; empty is none.
	CACertificate []byte
}

const suite = "trixie"

// packages are what Debian's EC2 image has beyond what is "important", as far as
// it matters here.
const packages = "ca-certificates,cloud-init,curl,dbus,iproute2,iputils-ping,netcat-openbsd," +
	"openssh-server,python3,sudo,systemd,systemd-sysv"

//go:embed customize.sh
var customizeScript string

//go:embed 90_lab.cfg
var cloudConfig []byte

// Build returns the layers of the base image, top first, building what is not in
// the cache; that takes half a minute. Several processes may call it at once.
func Build(ctx context.Context, b Base) (layers []string, err error) {
	b.CacheDir = cmp.Or(b.CacheDir, os.Getenv("XEROOPS_LAB_CACHE"), "/var/cache/xeroops-lab")
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
		return nil, fmt.Errorf("make base image trust the lab's CA: %w", err)
	}
	return []string{ca, root}, nil
}

// MirrorURL is the Debian mirror that apt uses on machines with these layers.
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

// Identity is the same for layers that were made by one recipe and hold the same
// packages: what was captured above the one fits above the other.
func Identity(layers []string) (string, error) {
	var parts []string
	for _, l := range layers {
		status, err := os.ReadFile(filepath.Join(l, "var/lib/dpkg/status"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("identify the base image: %w", err)
		}
		parts = append(parts, filepath.Base(l), string(status))
	}
	return hash(parts...), nil
}

func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return fmt.Sprintf("%x", sum[:8])
}

// once makes the folder unless it is there: in a temporary one beside it, under a
// lock, so that a folder with the final name is whole. Programs that build get the
// lock too, and hold it as long as they run, whatever became of this process.
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
	if err := tree.Remove(tmp); err != nil { // of a build that was killed
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

// mirrorURL finds Debian's archive (not its security archive) in apt sources of
// either format.
var mirrorURL = regexp.MustCompile(`(?m)^(?:URIs:|deb )[^#\n]*?(https?://\S+/debian/?)(?:\s|$)`)

// hostMirror is the mirror that the host itself uses, which it can surely reach.
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

// trust makes a layer that adds a CA to the certificates of the one below, by letting
// that one's own tool do it with the layer mounted above.
func trust(ctx context.Context, below, layer string, pem []byte, lock *os.File) error {
	dir := filepath.Join(layer, "usr/local/share/ca-certificates")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "xeroops-lab.crt"), pem, 0o644); err != nil {
		return err
	}
	work := layer + ".work"
	defer func() { _ = tree.Remove(work) }() // the next build removes what is left
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

// run runs a program in mount and process namespaces of its own: what it mounts in
// a tree ends with it, and all its processes end when this one does, however it
// ends. So no later removal of the tree walks into the host's own folders.
func run(ctx context.Context, lock *os.File, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, "unshare",
		append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.ExtraFiles = []*os.File{lock}
	runtime.LockOSThread() // Pdeathsig is about the thread that started it (prctl(2))
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
