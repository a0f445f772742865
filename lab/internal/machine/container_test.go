//go:build linux

package machine_test

import (
	"strings"
	"testing"
	"time"
)

func TestMachineBootsLikeAnInstanceAndPowersOff(t *testing.T) {
	r := newRig(t, 1)
	r.userData = "#cloud-config\nwrite_files: [{path: /etc/from-user-data, content: hello}]\n"
	start := time.Now()
	m := r.boot(r.spec(1))
	t.Logf("up after %s", time.Since(start))
	mem, err := m.MemoryBytes()
	check(t, err)
	t.Logf("memory %d MiB", mem>>20)
	t.Log(r.run("i-1", "systemd-analyze", "blame"))
	t.Log(r.run("i-1", "cloud-init", "status", "--long"))
	if got := r.run("i-1", "systemctl", "is-system-running"); got != "running" {
		t.Errorf("system is %s: %s", got, r.run("i-1", "systemctl", "--failed"))
	}
	if got := r.run("i-1", "hostname"); !strings.HasPrefix(got, "ip-10-0-2-11") {
		t.Errorf("hostname is %s", got)
	}
	if got := r.run("i-1", "cat", "/etc/from-user-data"); got != "hello" {
		t.Errorf("user-data wrote %q", got)
	}
	r.run("i-1", "id", "admin")
	start = time.Now()
	r.powerOff(m)
	t.Logf("off after %s", time.Since(start))
}
