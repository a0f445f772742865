// Generator is the package load as a program, for where a test can't be itself:
// the internet side of the lab. It runs for as long as its standard input is
// open, and then prints its report as JSON.
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
	flag.StringVar(&o.URL, "url", "", "what is asked for")
	flag.StringVar(&o.Method, "method", "GET", "of the requests")
	flag.StringVar(&o.Body, "body", "", "JSON that is sent with each")
	flag.IntVar(&o.Rate, "rate", 100, "requests per second")
	flag.DurationVar(&o.Wait, "wait", 0, "for an answer (default 10s)")
	flag.BoolVar(&o.Fresh, "fresh", false, "make a connection for each request")
	await := flag.Duration("await", 0, "how long to wait for a first good answer, before anything is counted")
	flag.Parse()
	if !answers(o, *await) {
		fmt.Fprintf(os.Stderr, "generator: %s has no good answer within %s\n", o.URL, *await)
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

// answers asks until there are good answers for a while, which is at once where
// within is 0.
func answers(o load.Options, within time.Duration) bool {
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
