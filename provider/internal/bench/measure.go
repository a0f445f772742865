package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/provider/internal/acctest/account"
	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

// sample is one run of a command.
type sample struct {
	wall   time.Duration
	calls  []fakeaws.Record
	memory int64 // bytes
}

// measure applies the example in an empty account, and plans twice: the first plan after
// an apply also marks what is new as held.
func (r *report) measure(ctx context.Context, dir, module, binary, example string, latency time.Duration) error {
	a, err := account.Start(ctx, fixups.Options{})
	if err != nil {
		return err
	}
	defer a.Close()
	dir, err = os.MkdirTemp(dir, "run-")
	if err != nil {
		return err
	}
	w, err := workspace.New(ctx, workspace.Options{
		Dir: dir, Module: module, Example: example, Binary: binary, Env: a.Environment(),
		Variables: map[string]string{"on_ready_timeout": "skip", "keep_data": "false"},
	})
	if err != nil {
		return err
	}
	// moto imports the code of a service at its first call, which would count as
	// latency.
	if _, err := a.Items(ctx); err != nil {
		return err
	}
	a.Front.SetLatency(latency)
	for _, run := range []struct {
		name string
		into *command
		run  func(context.Context) (string, error)
	}{{"apply", &r.Apply, w.Apply}, {"plan after the apply", &r.FirstPlan, w.PlanEmpty}, {"second plan", &r.Plan, w.PlanEmpty}} {
		s, err := timed(ctx, a, w, run.run)
		if err != nil {
			return fmt.Errorf("%s: %w", run.name, err)
		}
		run.into.add(s)
	}
	return nil
}

func timed(ctx context.Context, a *account.Account, w *workspace.Workspace, command func(context.Context) (string, error)) (sample, error) {
	a.Front.ClearCalls()
	stop, peak := make(chan struct{}), make(chan int64)
	go watchMemory(w, stop, peak)
	start := time.Now()
	_, err := command(ctx)
	s := sample{wall: time.Since(start)}
	close(stop)
	s.memory, s.calls = <-peak, a.Front.Calls()
	return s, err
}

// memoryInterval is the interval at which the provider's memory is read. The kernel
// tracks the peak, so only growth after the last reading is missed.
const memoryInterval = 50 * time.Millisecond

func watchMemory(w *workspace.Workspace, stop <-chan struct{}, peak chan<- int64) {
	ticker := time.NewTicker(memoryInterval)
	defer ticker.Stop()
	var highest int64
	for {
		highest = max(highest, w.PeakMemory())
		select {
		case <-stop:
			peak <- highest
			return
		case <-ticker.C:
		}
	}
}
