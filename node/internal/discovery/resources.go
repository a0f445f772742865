package discovery

import (
	"encoding/json"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/procfs"
)

// resources returns the load and the capacity of the machine. Values that cannot be
// determined are 0.
func resources(dataMount string) registry.Resources {
	r := registry.Resources{CPUs: runtime.NumCPU(), ClockSynced: clockSynced()}
	loadAverage, _ := procfs.ReadLine("/proc/loadavg")
	load1, _, _ := strings.Cut(loadAverage, " ")
	r.Load1, _ = strconv.ParseFloat(load1, 64)
	uptime, _ := procfs.ReadLine("/proc/uptime")
	seconds, _, _ := strings.Cut(uptime, ".")
	r.UptimeSeconds, _ = strconv.ParseUint(seconds, 10, 64)
	if memory, err := procfs.ReadMemory(); err == nil {
		r.MemoryBytes, r.MemoryAvailableBytes = memory.Total, memory.Available
	}
	r.DiskBytes, r.DiskAvailableBytes = diskSpace("/")
	if dataMount != "" {
		r.DataDiskBytes, r.DataDiskAvailableBytes = diskSpace(dataMount)
	}
	return r
}

// diskSpace returns the size and the free space of a file system in bytes, as df(1) does:
// space reserved for root counts for neither.
func diskSpace(path string) (size, free uint64) {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return 0, 0
	}
	return (s.Blocks - s.Bfree + s.Bavail) * uint64(s.Bsize), s.Bavail * uint64(s.Bsize)
}

// clockSynced reports whether chrony has synchronized the clock; see adjtimex(2).
func clockSynced() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err == nil && t.Status&unix.STA_UNSYNC == 0
}

// imageRecord is the description of the image, which the Packer plugin writes.
const imageRecord = "/usr/share/xeroops/image.json"

// publishedPackages are the packages whose versions are published.
var publishedPackages = map[string]bool{"etcd-server": true, "haproxy": true, "nginx": true, "patroni": true, "pgbouncer": true, "postgresql-17": true,
	"python3": true, "redis-server": true, "systemd": true, "wireguard-tools": true}

// versions returns the versions of the agent, the kernel, the image and its main packages.
func versions(agent string) map[string]string {
	kernel, _ := procfs.ReadLine("/proc/sys/kernel/osrelease")
	all := map[string]string{"xeroops-node": agent, "linux": kernel}
	var record struct {
		Version  string `json:"version"`
		Packages []struct{ Name, Version string }
	}
	text, err := os.ReadFile(imageRecord)
	if err != nil || json.Unmarshal(text, &record) != nil {
		return all // not an image of the Packer plugin
	}
	all["image"] = record.Version
	for _, p := range record.Packages {
		if publishedPackages[p.Name] {
			all[p.Name] = p.Version
		}
	}
	return all
}
