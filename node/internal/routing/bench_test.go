//go:build linux

package routing

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
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
	"github.com/xeroops/xeroops/node/internal/backoff"
)

// BenchmarkThousandNodes measures a reconcile with 1,000 app nodes: read the registry,
// render, check with haproxy -c, write and apply. Run it with -benchtime 20x. It reports
// the median and the maximum, and the processor time of the daemon, its children and
// HAProxy, which includes the health checks of 1,000 servers a second.
func BenchmarkThousandNodes(b *testing.B) {
	f := newFixture(b)
	const nodes = 1000
	second, _, _ := strings.Cut(strings.TrimPrefix(f.network, "127."), ".")
	for i := range nodes {
		f.topology.Nodes = append(f.topology.Nodes, cluster.TopologyNode{Name: fmt.Sprintf("app%d", i), Role: cluster.RoleApp,
			Address: fmt.Sprintf("127.%s.%d.%d", second, 200+i/250, 1+i%250)})
	}
	f.writeTopology()
	balancer := f.newBalancer()
	balancer.log = hclog.NewNullLogger()
	r := &Routing{Redis: f.node, Topology: f.files(), EntriesFile: filepath.Join(f.dir, "entries.json"), Log: balancer.log, Balancer: balancer,
		view: newView(saved{}), pause: backoff.New(time.Second, time.Second)}
	beat := func(node int, state registry.NodeState, apps ...registry.Application) {
		entry := realisticEntry(f.topology.Nodes[1+node], state, apps...)
		if err := registry.WriteNode(b.Context(), f.node, entry, false); err != nil {
			b.Fatal(err)
		}
	}
	for i := range nodes {
		beat(i, registry.NodeReady, application("shop", 8077))
	}
	r.installInitial(b.Context())
	f.startHAProxy()
	r.reconcile(b.Context(), f.topology)

	serveEverywhere(b, 8077)
	f.await("all servers to be up", func() bool {
		all, err := runningServers(b.Context(), f.settings.StatsSocket)
		for _, s := range all["app_shop"] {
			if !s.up {
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
				began, before := time.Now(), f.cpu()
				r.reconcile(b.Context(), f.topology)
				took, used = append(took, time.Since(began)), used+f.cpu()-before
				if failure := r.failure.String(); failure != "" {
					b.Fatal(failure)
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
	measure("one node added or removed", func(round int) {
		beat(7, registry.NodeReady, []registry.Application{application("shop", 8077)}[:round%2]...)
	})
	measure("half of the nodes added or removed", func(round int) {
		for i := range nodes / 2 {
			beat(i, registry.NodeReady, []registry.Application{application("shop", 8077)}[:round%2]...)
		}
	})
	measure("new application, with a reload", func(round int) {
		beat(7, registry.NodeReady, application("shop", 8077), application("more"+strconv.Itoa(round), 8077))
	})
}

// serveEverywhere answers health checks at every address of the loopback network.
func serveEverywhere(b *testing.B, port int) {
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

// cpu returns the processor time of this process, its children and HAProxy.
func (f *fixture) cpu() time.Duration {
	var own, children syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children)
	total := own.Utime.Nano() + own.Stime.Nano() + children.Utime.Nano() + children.Stime.Nano()
	master := strconv.Itoa(f.haproxy.Process.Pid)
	workers, _ := os.ReadFile("/proc/" + master + "/task/" + master + "/children")
	for _, pid := range append(strings.Fields(string(workers)), master) {
		stat, _ := os.ReadFile("/proc/" + pid + "/stat")
		_, rest, _ := strings.Cut(string(stat), ") ")
		// utime, stime, cutime and cstime in hundredths of a second: proc_pid_stat(5).
		for _, ticks := range strings.Fields(rest)[11:15] {
			n, _ := strconv.ParseInt(ticks, 10, 64)
			total += n * int64(10*time.Millisecond)
		}
	}
	return time.Duration(total)
}

// anonymousMiB returns the anonymous memory of this process.
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

// realisticEntry returns an entry as long as a real one.
func realisticEntry(n cluster.TopologyNode, state registry.NodeState, apps ...registry.Application) registry.Node {
	return registry.Node{Schema: registry.Schema, Name: n.Name, Role: n.Role, Address: n.Address, InstanceID: "i-0123456789abcdef0",
		BootID: "4c1f9a42-6ed5-4f5c-8d43-a0b9eb6f4c65", State: state, Applications: apps, UpdatedAt: time.Now(),
		Services: []registry.ServiceHealth{{Name: "sshd", State: "active", Healthy: true}, {Name: "redis-local", State: "active", Healthy: true},
			{Name: "applications", State: "active", Healthy: true}, {Name: "deployments", State: "active", Healthy: true}},
		Resources: registry.Resources{CPUs: 2, Load1: 0.42, MemoryBytes: 4 << 30, MemoryAvailableBytes: 3 << 30, DiskBytes: 8 << 30, DiskAvailableBytes: 5 << 30, UptimeSeconds: 86400},
		Versions:  map[string]string{"image": "0.1.0", "linux": "6.12.48+deb13-cloud-amd64", "python3": "3.13.5-1", "redis-server": "5:8.0.2-3+deb13u1", "xeroops-node": "0.1.0"}}
}
