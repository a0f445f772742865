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

	"github.com/xeroops/xeroops/internal/load"
)

func main() {
	var o load.Options
	flag.StringVar(&o.URL, "url", "", "what is asked for")
	flag.StringVar(&o.Method, "method", "GET", "of the requests")
	flag.StringVar(&o.Body, "body", "", "JSON that is sent with each")
	flag.IntVar(&o.Rate, "rate", 100, "requests per second")
	flag.DurationVar(&o.Wait, "wait", 0, "for an answer (default 10s)")
	flag.BoolVar(&o.Fresh, "fresh", false, "make a connection for each request")
	flag.Parse()
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
