//go:build linux

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/lab/internal/machine"
	"github.com/xeroops/xeroops/lab/internal/supervisor"
	"golang.org/x/sys/unix"
)

// minFreeBytes is enough for the base image, seven machines, moto's data and one
// image build.
const minFreeBytes = 3 << 30

// tools lists the programs that a lab runs, each with its Debian package.
var tools = [][2]string{
	{"systemd-nspawn", "systemd-container"}, {"nft", "nftables"}, {"mmdebstrap", "mmdebstrap"},
	{"nsenter", "util-linux"}, {"mount", "mount"},
}

// preflight returns an error that lists everything the host lacks for a lab.
func preflight(c supervisor.Config) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it creates namespaces, mounts and loop devices; run it as root", errMissing)
	}
	var problems []error
	for _, tool := range tools {
		if _, err := exec.LookPath(tool[0]); err != nil {
			problems = append(problems, fmt.Errorf("%s is missing: apt-get install %s", tool[0], tool[1]))
		}
	}
	if _, err := exec.LookPath(cmp.Or(os.Getenv(cluster.EnvMotoServer), "moto_server")); err != nil {
		problems = append(problems, errors.New("moto_server is missing: python3 -m venv /opt/moto && /opt/moto/bin/pip install 'moto[server,ec2,s3,iam]==5.2.1' && export "+cluster.EnvMotoServer+"=/opt/moto/bin/moto_server"))
	}
	if err := machine.CheckHost(); err != nil {
		problems = append(problems, fmt.Errorf("cgroup2 is missing: %w", err))
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		problems = append(problems, errors.New("/dev/loop-control is missing: modprobe loop, or give this container the host's loop devices"))
	}
	for _, dir := range []string{c.StateDir(), c.CacheDir} {
		if err := checkSpace(dir); err != nil {
			problems = append(problems, err)
		}
	}
	if l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", c.Port)); err != nil {
		problems = append(problems, fmt.Errorf("port %d is taken: choose another with --port", c.Port))
	} else {
		l.Close()
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %w", errMissing, errors.Join(problems...))
	}
	return nil
}

// checkSpace returns an error if the file system that holds dir, or its nearest
// existing parent, has less than minFreeBytes free.
func checkSpace(dir string) error {
	for {
		var fs unix.Statfs_t
		err := unix.Statfs(dir, &fs)
		if errors.Is(err, unix.ENOENT) && dir != "/" {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return fmt.Errorf("check free space in %s: %w", dir, err)
		}
		if free := fs.Bavail * uint64(fs.Bsize); free < minFreeBytes {
			return fmt.Errorf("%s has %d MiB free, a lab needs %d MiB: free some space, or choose other directories with --state-dir and --cache-dir",
				dir, free>>20, minFreeBytes>>20)
		}
		return nil
	}
}
