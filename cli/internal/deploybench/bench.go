package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/internal/registry"
)

const (
	deployTimeout = 3 * time.Minute
	pollInterval  = 50 * time.Millisecond
)

type bench struct {
	access   *access.Access
	registry *redis.Client
	nodes    []string // names of the app nodes
	python   registry.Python
	wheels   int
	series   string // distinguishes this run's versions from those of earlier runs
}

// measure deploys new versions, and in between rolls back or deploys a broken
// release.
func (b *bench) measure(ctx context.Context, runs int) error {
	var forward, back, broken durations
	previous := ""
	for n := range runs {
		took, sum, err := b.deploy(ctx, fmt.Sprint(n), sound)
		if err != nil {
			return err
		}
		fmt.Printf("deployment %d: %.2f s\n", n, took.Seconds())
		forward = append(forward, took)
		switch {
		case n > 0 && n%4 == 0:
			took, err := b.publish(ctx, b.version(fmt.Sprint(n-1)), previous, registry.PhaseHealthy)
			if err != nil {
				return err
			}
			back = append(back, took)
		case n%4 == 2:
			fault := []fault{importFails, unhealthy, wrongSum}[n/4%3]
			took, _, err := b.deploy(ctx, fmt.Sprintf("%d.%s", n, fault), fault)
			if err != nil {
				return err
			}
			fmt.Printf("broken release (%s): %.2f s\n", fault, took.Seconds())
			broken = append(broken, took)
		}
		previous = sum
	}
	fmt.Printf("published until %d nodes are healthy, %d wheels: %s\nrollback: %s\nbroken release until failed on all nodes: %s\n",
		len(b.nodes), b.wheels, forward, back, broken)
	return nil
}

func (b *bench) version(n string) string { return b.series + "+" + n } // PEP 440

// deploy uploads a version and publishes it. Only the latter is measured.
func (b *bench) deploy(ctx context.Context, n string, f fault) (time.Duration, string, error) {
	dir, err := os.MkdirTemp("", "deploybench-")
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r := release{version: b.version(n), wheels: b.wheels, fault: f}
	sum, err := r.upload(ctx, b.access, b.python, dir)
	if err != nil {
		return 0, "", err
	}
	end := registry.PhaseHealthy
	if f != sound {
		end = registry.PhaseFailed
	}
	took, err := b.publish(ctx, r.version, sum, end)
	return took, sum, err
}

// publish makes a version the desired one and waits until all nodes report the
// expected end.
func (b *bench) publish(ctx context.Context, version, sum string, end registry.Phase) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, deployTimeout)
	defer cancel()
	started := time.Now()
	d := registry.Desired{Version: version, SHA256: sum, PublishedAt: started.UTC().Format(time.RFC3339Nano), PublishedBy: "deploybench"}
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
				return 0, fmt.Errorf("version %s is %s on %s, want %s: %s", version, p.Phase, node, end, p.Error)
			}
		}
		if ended == len(b.nodes) {
			return time.Since(started), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("version %s is %s on %d of %d nodes after %s", version, end, ended, len(b.nodes), deployTimeout)
		case <-time.After(pollInterval):
		}
	}
}

// durations are summarized by percentiles.
type durations []time.Duration

// String implements fmt.Stringer.
func (d durations) String() string {
	if len(d) == 0 {
		return "none"
	}
	sorted := slices.Sorted(slices.Values(d))
	at := func(part float64) float64 { return sorted[int(part*float64(len(sorted)-1)+0.5)].Seconds() }
	return fmt.Sprintf("n %d, p50 %.2f s, p95 %.2f s, max %.2f s", len(sorted), at(0.5), at(0.95), at(1))
}
