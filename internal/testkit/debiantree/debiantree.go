//go:build linux

// Package debiantree runs programs of the role images in tests, in the versions of
// Debian 13, on any Linux host. scripts/debiantree.sh creates the tree; tests that
// need it are skipped if it doesn't exist.
package debiantree

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
)

// enter mounts what programs expect in their mount namespace and executes the program.
// The directory for temporary files is the host's; all other writes go to a tmpfs that
// ends with the program.
const enter = `set -e
tree=$1 tmp=$2 dir=$3
shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$tree.mount"
cd "$tree.mount"
mkdir upper work root
mount -t overlay -o "lowerdir=$tree,upperdir=upper,workdir=work" overlay root
cd root
mount --rbind /dev dev
mount --bind /proc proc
mkdir -p ".$tmp"
mount --bind "$tmp" ".$tmp"
exec chroot . sh -c 'cd "$0" && exec "$@"' "$dir" "$@"`

// Path returns the directory of the tree, or skips the test with the reason.
func Path(t testing.TB) string {
	t.Helper()
	tree := os.Getenv(cluster.EnvDebianTree)
	if tree == "" {
		tree = filepath.Join(root(t), ".tools", "debian13")
	}
	if _, err := os.Stat(tree + ".packages"); err != nil {
		t.Skip("the Debian 13 tree is missing: install mmdebstrap and run make setup as root")
	}
	if os.Geteuid() != 0 {
		t.Skip("running programs of the Debian 13 tree needs root, for chroot")
	}
	return tree
}

// root returns the directory of the checkout.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == "/" {
			t.Fatal("no parent of the test's directory has a go.mod")
		}
		dir = filepath.Dir(dir)
	}
}

// Command returns a command that runs a program of the tree in the directory /, with
// the host's network and temporary files. It is killed when the test ends.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	return CommandIn(t, "/", name, args...)
}

// CommandIn is [Command] in another directory, such as t.TempDir().
func CommandIn(t testing.TB, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	tree := Path(t)
	if err := os.MkdirAll(tree+".mount", 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", enter, "sh", tree, os.TempDir(), dir, name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8")
	return cmd
}

// Script runs a shell script in the tree, in its own network namespace, and fails the
// test if the script fails. Processes that it leaves running are killed.
func Script(t testing.TB, path string, args ...string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := Command(t, "sh", append([]string{"-c", string(content), filepath.Base(path)}, args...)...)
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID // the kernel kills all processes of the namespace with its first
	cmd.SysProcAttr.Unshareflags |= syscall.CLONE_NEWNET
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
