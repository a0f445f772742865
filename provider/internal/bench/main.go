// Bench measures the provider on the complete example against moto, with latency
// added to every call. It reports the wall time of an apply, of the plan after it, and of
// a further plan, their calls, their longest chain of calls, the provider's peak memory, and the
// size of its binary.
//
//	go run ./provider/internal/bench -n 3 -latency 300ms [-json] [-chain]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

func main() {
	n := flag.Int("n", 3, "number of runs")
	latency := flag.Duration("latency", 300*time.Millisecond, "added to every call")
	example := flag.String("example", "examples/complete", "directory of the example")
	asJSON := flag.Bool("json", false, "print JSON")
	chain := flag.Bool("chain", false, "print the calls of the longest chain of the last run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *n, *latency, *example, *asJSON, *chain); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n int, latency time.Duration, example string, asJSON, chain bool) error {
	if n < 1 {
		return fmt.Errorf("-n %d: must be at least 1", n)
	}
	dir, err := os.MkdirTemp("", "xeroops-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	module, err := workspace.Module()
	if err != nil {
		return err
	}
	binary, err := workspace.Build(ctx, module, dir)
	if err != nil {
		return err
	}
	size, err := os.Stat(binary)
	if err != nil {
		return err
	}
	report := report{Runs: n, LatencyMS: latency.Milliseconds(), BinaryBytes: size.Size()}
	for i := range n {
		fmt.Fprintf(os.Stderr, "bench: run %d of %d\n", i+1, n)
		if err := report.measure(ctx, dir, module, binary, example, latency); err != nil {
			return err
		}
	}
	if asJSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report.finish())
	}
	report.finish().print(os.Stdout, chain)
	return nil
}
