//go:build linux

package routing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/node/internal/backoff"
)

// BenchmarkThousandNodes is one pass of the daemon over a registry of 1,000 app
// nodes: read, render, check by haproxy -c, write, put into effect. Run it with
// -benchtime 20x. It reports median and maximum, and the processor time that the
// daemon, what it ran and HAProxy took, which is what counts on a machine that
// does other things; health checks of 1,000 servers a second are in that.
func BenchmarkThousandNodes(b *testing.B) {
	w := newWorld(b)
	const nodes = 1000
	second, _, _ := strings.Cut(strings.TrimPrefix(w.network, "127."), ".")
	for i := range nodes {
		w.topology.Nodes = append(w.topology.Nodes, cluster.TopologyNode{Name: fmt.Sprintf("app%d", i), Role: cluster.RoleApp,
			Address: fmt.Sprintf("127.%s.%d.%d", second, 200+i/250, 1+i%250)})
	}
	w.writeTopology()
	log := hclog.NewNullLogger()
	r := &Routing{Redis: w.node, Topology: w.files(), Saved: filepath.Join(w.dir, "entries.json"), Log: log, view: newView(nil), pause: backoff.New(time.Second, time.Second),
		Balancer: &balancer{Settings: w.settings, log: log, haproxy: func(_ context.Context, args ...string) *exec.Cmd {
			return debiantree.Command(b, "haproxy", args...)
		}}}
	beat := func(node int, state registry.NodeState, apps ...registry.Application) {
		entry := thousandth(w.topology.Nodes[1+node], state, apps...)
		if err := registry.WriteNode(b.Context(), w.node, entry, false); err != nil {
			b.Fatal(err)
		}
	}
	for i := range nodes {
		beat(i, registry.NodeReady, application("shop", 8077))
	}
	r.initial(b.Context())
	w.startHAProxy()
	r.pass(b.Context(), w.topology)

	everywhere(b, 8077)
	w.within(30*time.Second, "all servers are up", func() bool {
		all, err := runningServers(b.Context(), w.settings.StatsSocket)
		for _, is := range all["app_shop"] {
			if !is.up {
				return false
			}
		}
		return err == nil
	})

	measure := func(name string, change func(round int)) {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			var used time.Duration
			for round := 1; b.Loop(); round++ {
				b.StopTimer()
				change(round)
				b.StartTimer()
				began, before := time.Now(), w.cpu()
				r.pass(b.Context(), w.topology)
				took, used = append(took, time.Since(began)), used+w.cpu()-before
				if r.trouble != "" {
					b.Fatal(r.trouble)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "median-ms")
			b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "max-ms")
			b.ReportMetric(float64(used.Milliseconds())/float64(len(took)), "cpu-ms")
			b.ReportMetric(anonymousMiB(b), "anon-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
	measure("nothing changed", func(int) {})
	measure("one node drains", func(round int) {
		beat(7, []registry.NodeState{registry.NodeReady, registry.NodeDraining}[round%2], application("shop", 8077))
	})
	measure("one node comes or goes", func(round int) {
		beat(7, registry.NodeReady, []registry.Application{application("shop", 8077)}[:round%2]...)
	})
	measure("half of the nodes come or go", func(round int) {
		for i := range nodes / 2 {
			beat(i, registry.NodeReady, []registry.Application{application("shop", 8077)}[:round%2]...)
		}
	})
	measure("new application, reload", func(round int) {
		beat(7, registry.NodeReady, application("shop", 8077), application("more"+strconv.Itoa(round), 8077))
	})
}

// everywhere answers health checks at every address of the loopback network.
func everywhere(b *testing.B, port int) {
	onLoopback := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = syscall.BindToDevice(int(fd), "lo") }), err)
	}}
	listener, err := onLoopback.Listen(b.Context(), "tcp4", fmt.Sprintf("0.0.0.0:%d", port))
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
}

// cpu is the processor time of this process, of those that it ran, and of HAProxy.
func (w *world) cpu() time.Duration {
	var own, ran syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ran)
	total := own.Utime.Nano() + own.Stime.Nano() + ran.Utime.Nano() + ran.Stime.Nano()
	master := strconv.Itoa(w.haproxy.Process.Pid)
	workers, _ := os.ReadFile("/proc/" + master + "/task/" + master + "/children")
	for _, pid := range append(strings.Fields(string(workers)), master) {
		stat, _ := os.ReadFile("/proc/" + pid + "/stat")
		_, rest, _ := strings.Cut(string(stat), ") ")
		// utime, stime and those of children that ended, in hundredths of a second: proc_pid_stat(5).
		for _, ticks := range strings.Fields(rest)[11:15] {
			n, _ := strconv.ParseInt(ticks, 10, 64)
			total += n * int64(10*time.Millisecond)
		}
	}
	return time.Duration(total)
}

// anonymousMiB is the memory of this process that is not the program itself.
func anonymousMiB(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "RssAnon:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	return 0
}

// thousandth is an entry as long as a real one.
func thousandth(n cluster.TopologyNode, state registry.NodeState, apps ...registry.Application) registry.Node {
	return registry.Node{Schema: registry.Schema, Name: n.Name, Role: n.Role, Address: n.Address, InstanceID: "i-0123456789abcdef0",
		BootID: "4c1f9a42-6ed5-4f5c-8d43-a0b9eb6f4c65", State: state, Applications: apps, UpdatedAt: time.Now(),
		Services: []registry.ServiceHealth{{Name: "sshd", State: "active", Healthy: true}, {Name: "redis-local", State: "active", Healthy: true},
			{Name: "applications", State: "active", Healthy: true}, {Name: "deployments", State: "active", Healthy: true}},
		Resources: registry.Resources{CPUs: 2, Load1: 0.42, MemoryBytes: 4 << 30, MemoryAvailableBytes: 3 << 30, DiskBytes: 8 << 30, DiskAvailableBytes: 5 << 30, UptimeSeconds: 86400},
		Versions:  map[string]string{"image": "0.1.0", "linux": "6.12.48+deb13-cloud-amd64", "python3": "3.13.5-1", "redis-server": "5:8.0.2-3+deb13u1", "xeroops-node": "0.1.0"}}
}
