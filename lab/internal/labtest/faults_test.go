//go:build linux

package labtest

import (
	"slices"
	"strings"
	"time"
)

// probePort is a port that app nodes may connect to on management.
const probePort = "6379"

// serveProbe starts a server on management that accepts connections and holds them.
func serveProbe(l *lab) {
	l.t.Helper()
	l.shell("management", "systemctl stop probe 2>/dev/null; systemd-run --quiet --collect --unit=probe nc -lk "+probePort)
}

// untilConnects waits until app1 can, or cannot, connect to management.
func untilConnects(l *lab, want string) {
	l.t.Helper()
	l.until("app1 connects to management: "+want, 30*time.Second, func() (bool, string) {
		got := l.shell("app1", "nc -z -w1 10.0.2.20 "+probePort+" 2>/dev/null && echo yes || echo no")
		return got == want, got
	})
}

func checkPartition(l *lab) {
	if out, err := l.try("fault", "partition", "app1", "nowhere"); err == nil {
		l.t.Errorf("a partition from an unknown node was accepted: %s", out)
	}
	serveProbe(l)
	untilConnects(l, "yes")
	for _, others := range [][]string{{"management"}, {"db1", "management"}, {"10.0.2.0/24"}, {}} {
		l.run(append([]string{"fault", "partition", "app1"}, others...)...)
		untilConnects(l, "no")
		l.run("fault", "heal")
		untilConnects(l, "yes")
	}
	l.run("fault", "partition", "app1", "10.0.1.0/24")
	untilConnects(l, "yes") // management is in the other subnet
	l.run("fault", "heal")
	l.run("fault", "slow-link", "db1", "--bits-per-second=1000000")
	l.run("fault", "slow-link", "db1")
}

// holdConnection is a program that holds a connection and logs what it sees of its
// end. Once /run/send exists, it sends a byte.
const holdConnection = `
import os, socket, time
s = socket.create_connection(("10.0.2.20", ` + probePort + `))
print("connected", flush=True)
s.settimeout(0.2)
while True:
    try:
        if os.path.exists("/run/send"):
            s.send(b"x")
        print("received %r" % s.recv(1), flush=True)
        break
    except TimeoutError:
        pass
    except OSError as e:
        print("error", e.strerror, flush=True)
        break
`

// checkPowerCut checks that peers of a machine see neither FIN nor RST when its power is
// cut and while it is off. Old connections are reset once it is on again.
func checkPowerCut(l *lab) {
	serveProbe(l)
	untilConnects(l, "yes")
	l.shell("app1", "rm -f /run/send; cat >/run/hold.py <<'EOF'"+holdConnection+"EOF\nsystemd-run --quiet --collect --unit=hold --property=StandardOutput=file:/run/hold.log python3 /run/hold.py")
	log := func() string { return l.shell("app1", "cat /run/hold.log") }
	l.until("the connection is open", 30*time.Second, func() (bool, string) { return log() == "connected", log() })

	before, _ := l.instance("management")
	l.run("fault", "power-cut", "management")
	if i, _ := l.instance("management"); i.State != "stopped" {
		l.t.Errorf("after the power cut, the instance is %s, want stopped", i.State)
	}
	// Without an answer to ARP, Linux reports "No route to host" after up to three seconds.
	silent := []string{"timed out", "No route to host"}
	dial := "python3 -c 'import socket; socket.create_connection((\"10.0.2.20\", " + probePort + "), 2)' 2>&1 | tail -1"
	if got := l.shell("app1", dial); !slices.ContainsFunc(silent, func(s string) bool { return strings.Contains(got, s) }) {
		l.t.Errorf("connecting to a machine without power: %q, want no answer", got)
	}
	if got := log(); got != "connected" {
		l.t.Errorf("the connection to a machine without power: %s, want it half-open", got)
	}
	l.run("fault", "power-on", "management")
	l.untilState("management", "running")
	if after, _ := l.instance("management"); after.InstanceID != before.InstanceID || after.Address != before.Address {
		l.t.Errorf("after the power cut: %+v, before: %+v", after, before)
	}
	if got := log(); got != "connected" {
		l.t.Errorf("the connection after power-on: %s, want it half-open", got)
	}
	l.shell("app1", "touch /run/send")
	l.until("the connection is reset", time.Minute, func() (bool, string) {
		got := log()
		return strings.HasSuffix(got, "error Connection reset by peer"), got
	})
}

// checkFreeze checks that a frozen machine does not respond to its peers, and goes on
// after thaw.
func checkFreeze(l *lab) {
	if _, err := l.try("fault", "freeze", "nobody"); err == nil {
		l.t.Error("a fault of an unknown node was accepted")
	}
	serveProbe(l)
	untilConnects(l, "yes")
	l.run("fault", "freeze", "management")
	untilConnects(l, "no")
	l.run("fault", "thaw", "management")
	untilConnects(l, "yes")
	// A frozen machine can lose power as well.
	l.run("fault", "freeze", "app2")
	l.run("fault", "power-cut", "app2")
	l.run("fault", "power-on", "app2")
	l.untilState("app2", "running")
	l.shell("app2", "curl -s --max-time 10 -o /dev/null https://s3.eu-west-1.amazonaws.com/") // its link is up
}

func checkDiskFaults(l *lab) {
	if out, err := l.try("fault", "stall-disk", "app1"); err == nil || !strings.Contains(out, "root volumes cannot be") {
		l.t.Errorf("stall-disk of a machine without a data volume: %v: %s", err, out)
	}
	l.run("fault", "slow-disk", "db1", "--bytes-per-second=1000000")
	l.run("fault", "slow-disk", "db1")
	const write = "dd if=/dev/zero of=$(readlink -f /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol*) bs=4k count=1 seek=1000 oflag=direct conv=fsync status=none; touch /run/written"
	l.shell("db1", "rm -f /run/written; "+write+"; rm /run/written")
	l.run("fault", "stall-disk", "db1")
	l.shell("db1", "systemd-run --quiet --collect --unit=write sh -c '"+write+"'")
	l.until("the write has started", 30*time.Second, func() (bool, string) {
		state := l.shell("db1", "ps -C dd -o stat=; true")
		return strings.HasPrefix(state, "D"), state
	})
	if got := l.shell("db1", "ls /run/written 2>/dev/null; true"); got != "" {
		l.t.Error("a write to a stalled volume returned")
	}
	l.run("fault", "heal")
	l.until("the write has finished", 30*time.Second, func() (bool, string) {
		got := l.shell("db1", "ls /run/written 2>/dev/null; true")
		return got != "", got
	})
}
