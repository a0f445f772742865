//go:build linux

// Package debiantree lets tests run the programs that the role images have,
// in the versions of Debian 13, on whatever Linux the tests run on. The tree is
// made by scripts/debiantree.sh; without it, a test that needs it is skipped.
package debiantree

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// enter mounts what programs expect to find, in a mount namespace that ends with
// them, and becomes the program. What is written outside of the folder for
// temporary files, which is the host's, is in memory and gone with the program.
const enter = `set -e
tree=$1 tmp=$2 folder=$3
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
exec chroot . sh -c 'cd "$0" && exec "$@"' "$folder" "$@"`

// Path returns the folder of the tree, or skips the test and says why.
func Path(t testing.TB) string {
	t.Helper()
	tree := os.Getenv("XEROOPS_DEBIAN_TREE")
	if tree == "" {
		tree = filepath.Join(root(t), ".tools", "debian13")
	}
	if _, err := os.Stat(tree + ".packages"); err != nil {
		t.Skip("there is no tree of Debian 13: run make setup as root, with mmdebstrap there")
	}
	if os.Geteuid() != 0 {
		t.Skip("programs of the Debian 13 tree run by chroot, which only root may do")
	}
	return tree
}

// root is the folder of the checkout.
func root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		if folder == "/" {
			t.Fatal("no go.mod above the test's folder")
		}
		folder = filepath.Dir(folder)
	}
}

// Command is a program of the tree, to be run in the host's network and with the
// host's temporary files, in the folder /. It is killed when the test ends.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	return CommandIn(t, "/", name, args...)
}

// CommandIn is [Command] in another folder, such as t.TempDir().
func CommandIn(t testing.TB, folder, name string, args ...string) *exec.Cmd {
	t.Helper()
	tree := Path(t)
	if err := os.MkdirAll(tree+".mount", 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", enter, "sh", tree, os.TempDir(), folder, name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8")
	return cmd
}

// Script runs a shell script in the tree, in a network of its own, and fails the test
// where the script does. All that it started ends with it.
func Script(t testing.TB, path string, args ...string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := Command(t, "sh", append([]string{"-c", string(content), filepath.Base(path)}, args...)...)
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID // whose end is that of all
	cmd.SysProcAttr.Unshareflags |= syscall.CLONE_NEWNET
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
