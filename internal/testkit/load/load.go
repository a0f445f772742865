// Package load sends HTTP requests at a constant rate and counts failures, so that tests
// and benchmarks can measure how a fault affects clients.
//
// The load is open: requests are sent on schedule, without waiting for responses to
// earlier ones, so that slow responses don't reduce the rate.
package load

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are the requests to send.
type Options struct {
	URL    string
	Method string        // default GET
	Body   string        // JSON; sent with each request
	Rate   int           // requests per second
	Wait   time.Duration // timeout of a request; default 10 s
	// Fresh opens a new connection for each request instead of reusing connections.
	Fresh bool
}

// Report has the results. A request has failed if it timed out or its status was 400
// or higher.
type Report struct {
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Errors   map[string]int `json:"errors,omitempty"` // number of failures by error
	// Outage is the time in seconds from the first failed request until the last one
	// failed.
	Outage float64 `json:"outage_seconds"`
	// Latencies of successful requests in milliseconds.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
	// Answers is the number of responses by node, for responses that are a JSON object
	// with a member "node".
	Answers map[string]int `json:"answers,omitempty"`
}

// String returns the results in one line.
func (r Report) String() string {
	line := fmt.Sprintf("%d requests, %d failed, outage %.2f s, p50 %.0f ms, p99 %.0f ms, max %.0f ms", r.Requests, r.Failed, r.Outage, r.P50, r.P99, r.Max)
	if r.Failed > 0 {
		line += fmt.Sprintf(", errors %v", r.Errors)
	}
	return line
}

// maxOpen limits concurrent requests. Further requests fail.
const maxOpen = 512

// Run sends requests until ctx ends, waits for outstanding responses and returns the
// results.
func Run(ctx context.Context, o Options) Report {
	if o.Wait == 0 {
		o.Wait = 10 * time.Second
	}
	if o.Method == "" {
		o.Method = http.MethodGet
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: o.Wait}).DialContext,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the edge's first certificate is self-signed
		MaxIdleConnsPerHost: maxOpen, DisableKeepAlives: o.Fresh,
	}
	defer transport.CloseIdleConnections()
	g := &generator{options: o, client: &http.Client{Transport: transport, Timeout: o.Wait}, errors: map[string]int{}, answers: map[string]int{}}
	free := make(chan struct{}, maxOpen)
	var sent sync.WaitGroup
	clock := time.NewTicker(time.Second / time.Duration(o.Rate))
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			sent.Wait()
			return g.report()
		case <-clock.C:
		}
		select {
		case free <- struct{}{}:
			sent.Go(func() { g.send(); <-free })
		default:
			g.record(time.Now(), 0, "", fmt.Errorf("%d requests are outstanding", maxOpen))
		}
	}
}

type generator struct {
	options Options
	client  *http.Client

	mu          sync.Mutex
	latencies   []time.Duration
	failed      int
	errors      map[string]int
	answers     map[string]int
	first, last time.Time // of failures
}

func (g *generator) send() {
	begun := time.Now()
	request, err := http.NewRequest(g.options.Method, g.options.URL, strings.NewReader(g.options.Body))
	if err != nil {
		g.record(begun, 0, "", err)
		return
	}
	if g.options.Body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := g.client.Do(request)
	if err != nil {
		g.record(begun, time.Since(begun), "", err)
		return
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("status %d", answer.StatusCode)
	}
	var by struct{ Node string }
	_ = json.Unmarshal(body, &by) // other responses are not counted by node
	g.record(begun, time.Since(begun), by.Node, err)
}

func (g *generator) record(begun time.Time, took time.Duration, by string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if by != "" {
		g.answers[by]++
	}
	if err == nil {
		g.latencies = append(g.latencies, took)
		return
	}
	g.failed++
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 { // drop the method, the URL and the addresses
		text = text[i+2:]
	}
	g.errors[text]++
	if g.first.IsZero() || begun.Before(g.first) {
		g.first = begun
	}
	if end := begun.Add(took); end.After(g.last) {
		g.last = end
	}
}

func (g *generator) report() Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.Sort(g.latencies)
	at := func(part float64) float64 {
		if len(g.latencies) == 0 {
			return 0
		}
		return float64(g.latencies[int(part*float64(len(g.latencies)-1))].Microseconds()) / 1000
	}
	return Report{Requests: g.failed + len(g.latencies), Failed: g.failed, Errors: g.errors, Outage: g.last.Sub(g.first).Seconds(),
		P50: at(0.5), P99: at(0.99), Max: at(1), Answers: g.answers}
}
