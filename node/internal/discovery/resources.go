package discovery

import (
	"encoding/json"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xeroops/xeroops/internal/registry"
)

// resources is how busy the machine is; what could not be found out is 0.
func resources(dataMount string) registry.Resources {
	r := registry.Resources{CPUs: runtime.NumCPU(), ClockSynced: clockSynced()}
	if load, _, found := strings.Cut(readLine("/proc/loadavg"), " "); found {
		r.Load1, _ = strconv.ParseFloat(load, 64)
	}
	if up, _, found := strings.Cut(readLine("/proc/uptime"), "."); found {
		r.UptimeSeconds, _ = strconv.ParseUint(up, 10, 64)
	}
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseUint(f[1], 10, 64)
		switch f[0] {
		case "MemTotal:":
			r.MemoryBytes = kib << 10
		case "MemAvailable:":
			r.MemoryAvailableBytes = kib << 10
		}
	}
	r.DiskBytes, r.DiskAvailableBytes = space("/")
	if dataMount != "" {
		r.DataDiskBytes, r.DataDiskAvailableBytes = space(dataMount)
	}
	return r
}

// space is what df(1) shows: what is kept for root counts as neither used nor free.
func space(path string) (size, free uint64) {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return 0, 0
	}
	return (s.Blocks - s.Bfree + s.Bavail) * uint64(s.Bsize), s.Bavail * uint64(s.Bsize)
}

// clockSynced is what the kernel was told by chrony; see adjtimex(2).
func clockSynced() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err == nil && t.Status&unix.STA_UNSYNC == 0
}

// imageRecord is what the image says of itself; the Packer plugin writes it.
const imageRecord = "/usr/share/xeroops/image.json"

// told are the packages whose versions are published.
var told = map[string]bool{"etcd-server": true, "haproxy": true, "nginx": true, "patroni": true, "pgbouncer": true, "postgresql-17": true,
	"python3": true, "redis-server": true, "systemd": true, "wireguard-tools": true}

// versions are those of the agent, the kernel, the image and its main packages.
func versions(agent string) map[string]string {
	all := map[string]string{"xeroops-node": agent, "linux": readLine("/proc/sys/kernel/osrelease")}
	var record struct {
		Version  string `json:"version"`
		Packages []struct{ Name, Version string }
	}
	text, err := os.ReadFile(imageRecord)
	if err != nil || json.Unmarshal(text, &record) != nil {
		return all // an image that was made otherwise
	}
	all["image"] = record.Version
	for _, p := range record.Packages {
		if told[p.Name] {
			all[p.Name] = p.Version
		}
	}
	return all
}
