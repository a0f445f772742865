// Generator runs package load as a program, for tests that send requests from the lab's
// internet side. It runs until its standard input is closed, and then prints the
// results as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/xeroops/xeroops/internal/testkit/load"
)

func main() {
	var o load.Options
	flag.StringVar(&o.URL, "url", "", "URL to request")
	flag.StringVar(&o.Method, "method", "GET", "HTTP method")
	flag.StringVar(&o.Body, "body", "", "JSON body of the requests")
	flag.IntVar(&o.Rate, "rate", 100, "requests per second")
	flag.DurationVar(&o.Wait, "wait", 0, "timeout of a request (default 10s)")
	flag.BoolVar(&o.Fresh, "fresh", false, "open a new connection for each request")
	await := flag.Duration("await", 0, "before starting, wait up to this long until requests succeed")
	flag.Parse()
	if !awaitSuccess(o, *await) {
		fmt.Fprintf(os.Stderr, "generator: requests of %s did not succeed within %s\n", o.URL, *await)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := json.NewEncoder(os.Stdout).Encode(load.Run(ctx, o)); err != nil {
		fmt.Fprintln(os.Stderr, "generator:", err)
		os.Exit(1)
	}
}

// awaitSuccess sends requests until none has failed for a second, and reports whether
// that happened in time. It returns at once if within is 0.
func awaitSuccess(o load.Options, within time.Duration) bool {
	for end := time.Now().Add(within); within > 0; {
		o.Rate = 10
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		report := load.Run(ctx, o)
		cancel()
		if report.Requests > 0 && report.Failed == 0 {
			break
		}
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
