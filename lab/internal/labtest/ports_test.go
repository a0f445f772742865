//go:build linux

package labtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
)

// vpnClient is the address of a VPN client behind the gateway.
const vpnClient = "10.100.0.2"

// listenScript listens on all ports that are not in use yet. It accepts TCP connections
// and responds to UDP datagrams.
const listenScript = `
import json, select, socket, sys
ports, name = json.loads(sys.argv[1]), socket.gethostname().encode()
tcp, udp = [], []
for protocol, port in ports:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("0.0.0.0", port))
    except OSError:
        continue
    if protocol == "tcp":
        s.listen(64)
        tcp.append(s)
    else:
        udp.append(s)
open("/run/listening", "w").close()
while True:
    for s in select.select(tcp + udp, [], [])[0]:
        if s in tcp:
            c, _ = s.accept()
            c.close()
        else:
            _, peer = s.recvfrom(64)
            s.sendto(name, peer)
`

// connectScript tries all targets concurrently and prints those that responded. The
// others time out, because the lab drops packets and does not reject them.
const connectScript = `
import json, socket, sys, threading
targets, source, opened = json.loads(sys.argv[1]), sys.argv[2], []
def attempt(name, address, protocol, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(5)
    try:
        if source:
            s.bind((source, 0))
        s.connect((address, port))
        if protocol == "udp":
            s.send(b"?")
            s.recv(64)
        opened.append("%s %s/%d" % (name, protocol, port))
    except OSError:
        pass
threads = [threading.Thread(target=attempt, args=t) for t in targets]
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps(sorted(opened)))
`

// checkPortMatrix listens on every port of service-ports.json on every machine, and
// tries to connect from every machine, from a VPN client and from the internet. It
// succeeds exactly where the table allows it.
func checkPortMatrix(l *lab) {
	ports := allPorts()
	encoded, err := json.Marshal(ports)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, n := range reference {
		l.shell(n.name, "cat >/run/listen.py <<'EOF'"+listenScript+"EOF\n"+
			"systemd-run --quiet --unit=listen python3 /run/listen.py '"+string(encoded)+"'\n"+
			"cat >/run/connect.py <<'EOF'"+connectScript+"EOF")
	}
	for _, n := range reference {
		l.until(n.name+" listens on its ports", 30*time.Second, func() (bool, string) {
			state := l.shell(n.name, "ls /run/listening 2>&1; systemctl status listen 2>&1; true")
			return strings.HasPrefix(state, "/run/listening"), state
		})
	}
	l.shell("gateway", "ip address add "+vpnClient+"/32 dev lo")
	var wait sync.WaitGroup
	var mu sync.Mutex
	opened := map[string][]string{}
	try := func(from string, run func() string) {
		wait.Go(func() {
			out := run()
			var list []string
			err := json.Unmarshal([]byte(out), &list)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				l.t.Errorf("from %s: %v: %s", from, err, out)
			}
			opened[from] = list
		})
	}
	for _, n := range reference {
		try(n.name, func() string { return l.shell(n.name, connect(targets(n.name, ports), "")) })
	}
	try(cluster.FromVPN, func() string { return l.shell("gateway", connect(targets("gateway", ports), vpnClient)) })
	try(cluster.FromInternet, func() string { return l.connectFromInternet(ports) })
	wait.Wait()
	for _, n := range reference {
		compare(l, n.name, opened[n.name], expected(n.name, string(n.role), ports))
		l.shell(n.name, "systemctl stop listen")
	}
	compare(l, cluster.FromVPN, opened[cluster.FromVPN], expected("gateway", cluster.FromVPN, ports))
	compare(l, cluster.FromInternet, opened[cluster.FromInternet], expectedFromInternet(ports))
}

type port struct {
	protocol string
	number   int32
}

func (p port) MarshalJSON() ([]byte, error) { return json.Marshal([]any{p.protocol, p.number}) }
func (p port) String() string               { return fmt.Sprintf("%s/%d", p.protocol, p.number) }

// allPorts returns the ports of the table, both ends of ranges, and one port that is
// not in the table.
func allPorts() []port {
	all := []port{{"tcp", 9}}
	for _, s := range cluster.Services() {
		for _, p := range s.Ports {
			for _, number := range []int32{p.Port, p.Last()} {
				if !slices.Contains(all, port{p.Protocol, number}) {
					all = append(all, port{p.Protocol, number})
				}
			}
		}
	}
	return all
}

type target struct {
	name, address string
	port          port
}

func (t target) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{t.name, t.address, t.port.protocol, t.port.number})
}

// targets returns the ports of all machines but one.
func targets(without string, ports []port) []target {
	var all []target
	for _, n := range reference {
		for _, p := range ports {
			if n.name != without {
				all = append(all, target{n.name, n.address, p})
			}
		}
	}
	return all
}

func connect(all []target, source string) string {
	encoded, err := json.Marshal(all)
	if err != nil {
		panic(err) // marshaling strings and numbers does not fail
	}
	return fmt.Sprintf("python3 /run/connect.py '%s' '%s'", encoded, source)
}

// connectFromInternet tries public addresses, and private ones, which must fail.
func (l *lab) connectFromInternet(ports []port) string {
	all := targets("", ports)
	for _, n := range reference {
		i, _ := l.instance(n.name)
		for _, p := range ports {
			if i.PublicAddress != "" {
				all = append(all, target{n.name + " by its elastic address", i.PublicAddress, p})
			}
		}
	}
	encoded, err := json.Marshal(all)
	if err != nil {
		l.t.Error(err)
		return ""
	}
	out, err := l.outside("cat >/tmp/" + l.name + ".py <<'EOF'" + connectScript + "EOF\npython3 /tmp/" + l.name + ".py '" + string(encoded) + "' ''; rm /tmp/" + l.name + ".py")
	if err != nil {
		l.t.Error(err)
	}
	return out
}

// allowed reports whether the table allows a source (a role, vpn or internet) to
// connect to a role's port. Ports open to the internet are open to all sources.
func allowed(from string, to cluster.Role, p port) bool {
	for _, s := range cluster.ServicesOf(to) {
		for _, open := range s.Ports {
			if open.Port <= p.number && p.number <= open.Last() && open.Protocol == p.protocol {
				return slices.Contains(open.From, from) || slices.Contains(open.From, cluster.FromInternet)
			}
		}
	}
	return false
}

func expected(without, from string, ports []port) []string {
	var all []string
	for _, n := range reference {
		for _, p := range ports {
			if n.name != without && allowed(from, n.role, p) {
				all = append(all, n.name+" "+p.String())
			}
		}
	}
	sort.Strings(all)
	return all
}

func expectedFromInternet(ports []port) []string {
	var all []string
	for _, open := range expected("", cluster.FromInternet, ports) {
		name, rest, _ := strings.Cut(open, " ")
		all = append(all, name+" by its elastic address "+rest)
	}
	sort.Strings(all)
	return all
}

func compare(l *lab, from string, got, want []string) {
	for _, open := range got {
		if !slices.Contains(want, open) {
			l.t.Errorf("from %s: %s is open, and the table doesn't allow it", from, open)
		}
	}
	for _, open := range want {
		if !slices.Contains(got, open) {
			l.t.Errorf("from %s: %s is closed, and the table allows it", from, open)
		}
	}
	l.t.Logf("from %s: %d ports are open", from, len(want))
}

func get(url string) (string, error) {
	answer, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}
