// Deploybench measures deployments on a cluster that runs, such as the lab's: from
// publishing a version to all app nodes being healthy, roll backs, and releases
// that must not come up, all under load. It publishes straight to S3 and Redis, as
// xeroops deploy does; what it deploys is made up: an application with 39 wheels
// that it depends on.
//
//	deploybench -via 'xeroops-lab connect %h %p' -load 'xeroops-lab exec -- generator -fresh -await 30s -url https://198.51.100.1/api/bench/'
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/proxycommand"
	"github.com/xeroops/xeroops/internal/registry"
)

const (
	application = "bench"
	port        = 8042
	deadline    = 3 * time.Minute // for one deployment
	pollEvery   = 50 * time.Millisecond
)

type bench struct {
	s3       *s3.Client
	registry *redis.Client
	bucket   string
	nodes    []string
	python   registry.Python
	wheels   int
	series   string // what makes versions of this run others than those of the last
}

func main() {
	via := flag.String("via", "", "command that connects its standard input and output to %h %p, the registry")
	bucket := flag.String("bucket", "uploads-123456789012", "the uploads bucket")
	name := flag.String("cluster", "reference", "the cluster's name")
	load := flag.String("load", "", "command of a load generator, run for as long as its standard input is open; its last line is a report")
	runs := flag.Int("runs", 20, "deployments to measure")
	wheels := flag.Int("wheels", 40, "wheels of a bundle")
	flag.Parse()
	if err := run(context.Background(), *via, *bucket, *name, *load, *runs, *wheels); err != nil {
		fmt.Fprintln(os.Stderr, "deploybench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, via, bucket, name, load string, runs, wheels int) error {
	b, err := open(ctx, via, bucket, name)
	if err != nil {
		return err
	}
	b.wheels = wheels
	if b.python, err = registry.ReadPython(ctx, b.registry, b.nodes); err != nil {
		return err
	}
	if _, _, err := b.deploy(ctx, "first", release{}); err != nil { // the load needs something to answer
		return err
	}
	stop, err := startLoad(load)
	if err != nil {
		return err
	}
	err = b.measure(ctx, runs)
	report, loadErr := stop()
	fmt.Println("load:", report)
	if err == nil {
		err = loadErr
	}
	return err
}

// measure deploys new versions, goes back to the one before, and publishes bad ones.
func (b *bench) measure(ctx context.Context, runs int) error {
	var forward, back, bad times
	sums := map[string]string{}
	for n := range runs {
		took, sum, err := b.deploy(ctx, fmt.Sprint(n), release{})
		if err != nil {
			return err
		}
		sums[b.version(fmt.Sprint(n))] = sum
		forward.add(took)
		fmt.Printf("deployment %d: %.2f s\n", n, took.Seconds())
		if n == 0 {
			continue
		}
		if n%4 == 0 {
			before := b.version(fmt.Sprint(n - 1))
			took, err := b.publish(ctx, before, sums[before], registry.PhaseHealthy)
			if err != nil {
				return err
			}
			back.add(took)
		}
		if n%4 == 2 {
			kind := []release{{fails: "import"}, {fails: "health"}, {fails: "sum"}}[n/4%3]
			took, _, err := b.deploy(ctx, fmt.Sprintf("%d.%s", n, kind.fails), kind)
			if err != nil {
				return err
			}
			fmt.Printf("bad release (%s): %.2f s\n", kind.fails, took.Seconds())
			bad.add(took)
		}
	}
	fmt.Printf("publish to %d nodes healthy, %d wheels: %s\nroll back: %s\nbad release to failed on all nodes: %s\n", len(b.nodes), b.wheels, forward, back, bad)
	return nil
}

func (b *bench) version(n string) string { return b.series + "+" + n } // PEP 440

// deploy uploads a version and publishes it; what is measured begins with the latter.
func (b *bench) deploy(ctx context.Context, n string, r release) (time.Duration, string, error) {
	version := b.version(n)
	sum, err := b.upload(ctx, version, r)
	if err != nil {
		return 0, "", err
	}
	end := registry.PhaseHealthy
	if r.fails != "" {
		end = registry.PhaseFailed
	}
	took, err := b.publish(ctx, version, sum, end)
	return took, sum, err
}

// publish makes a version the desired one and waits until all nodes say that they
// came to the end that is expected.
func (b *bench) publish(ctx context.Context, version, sum string, end registry.Phase) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	began := time.Now()
	d := registry.Desired{Version: version, SHA256: sum, PublishedAt: began.UTC().Format(time.RFC3339Nano), PublishedBy: "deploybench"}
	if _, err := registry.Publish(ctx, b.registry, application, d); err != nil {
		return 0, err
	}
	for {
		progress, err := registry.ReadProgress(ctx, b.registry, application, version)
		if err != nil {
			return 0, err
		}
		ended := 0
		for _, node := range b.nodes {
			if p := progress[node]; p.Phase == end {
				ended++
			} else if p.Phase.Ended() {
				return 0, fmt.Errorf("version %s is %s on %s: %s", version, p.Phase, node, p.Error)
			}
		}
		if ended == len(b.nodes) {
			return time.Since(began), nil
		}
		time.Sleep(pollEvery)
	}
}

func open(ctx context.Context, via, bucket, name string) (*bench, error) {
	aws, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{s3: s3.NewFromConfig(aws, func(o *s3.Options) { o.UsePathStyle = true }), bucket: bucket, series: fmt.Sprint(time.Now().Unix())}
	layout := cluster.Layout{Cluster: name}
	var topology cluster.Topology
	content, err := b.get(ctx, layout.Topology())
	if err == nil {
		err = json.Unmarshal(content, &topology)
	}
	if err != nil {
		return nil, fmt.Errorf("read the topology of %s: %w", name, err)
	}
	management := ""
	for _, n := range topology.Nodes {
		switch n.Role {
		case cluster.RoleApp:
			b.nodes = append(b.nodes, n.Name)
		case cluster.RoleManagement:
			if management = n.Address; via != "" {
				management = n.Name
			}
		}
	}
	password, err := b.password(ctx, layout)
	if err != nil {
		return nil, err
	}
	b.registry = registry.OpenVia(proxycommand.Dialer(via), management+":"+registry.Port, registry.UserDeploy, password)
	return b, nil
}

// startLoad runs a load generator; stop ends it and returns the last that it said.
func startLoad(command string) (stop func() (string, error), err error) {
	if command == "" {
		return func() (string, error) { return "none", nil }, nil
	}
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() (string, error) {
		_ = in.Close()
		err := cmd.Wait()
		return strings.TrimSpace(out.String()), err
	}, nil
}

// times are durations, told as one does of a few dozen.
type times []time.Duration

func (t *times) add(d time.Duration) { *t = append(*t, d) }

// String implements fmt.Stringer.
func (t times) String() string {
	if len(t) == 0 {
		return "none"
	}
	slices.Sort(t)
	at := func(part float64) float64 { return t[int(part*float64(len(t)-1)+0.5)].Seconds() }
	return fmt.Sprintf("n %d, p50 %.2f s, p95 %.2f s, max %.2f s", len(t), at(0.5), at(0.95), at(1))
}
