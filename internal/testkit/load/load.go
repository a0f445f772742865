// Package load sends requests at a constant rate and counts what fails, so that
// tests and benchmarks can say what a failure cost those who used the cluster.
//
// Requests are sent by the clock and not after the answer to the one before: an
// answer that is late doesn't make fewer be asked for.
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

// Options says what is asked for, and how often.
type Options struct {
	URL    string
	Method string        // GET where empty
	Body   string        // sent with each
	Rate   int           // requests per second
	Wait   time.Duration // for an answer; 10 s where 0
	// Fresh makes a connection for each request, as many clients do; otherwise
	// connections are kept.
	Fresh bool
}

// Report is what came of it. A request has failed if there was no answer in time
// or its status was 400 or more.
type Report struct {
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Errors   map[string]int `json:"errors,omitempty"` // how often each
	// Outage is from the first failed request to the end of the last, in seconds.
	Outage float64 `json:"outage_seconds"`
	// Latencies in milliseconds, of what was answered well.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
	// Answers counts answers by the node that gave them: those that are a JSON
	// object with a "node".
	Answers map[string]int `json:"answers,omitempty"`
}

// String is a line for a log.
func (r Report) String() string {
	line := fmt.Sprintf("%d requests, %d failed, outage %.2f s, p50 %.0f ms, p99 %.0f ms, max %.0f ms", r.Requests, r.Failed, r.Outage, r.P50, r.P99, r.Max)
	if r.Failed > 0 {
		line += fmt.Sprintf(", errors %v", r.Errors)
	}
	return line
}

// maxOpen bounds how many requests wait at once; beyond it a request fails.
const maxOpen = 512

// Run sends requests until ctx ends, waits for the answers to those sent, and
// reports.
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
			g.note(time.Now(), 0, "", fmt.Errorf("%d requests wait already", maxOpen))
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
		g.note(begun, 0, "", err)
		return
	}
	if g.options.Body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := g.client.Do(request)
	if err != nil {
		g.note(begun, time.Since(begun), "", err)
		return
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("status %d", answer.StatusCode)
	}
	var by struct{ Node string }
	_ = json.Unmarshal(body, &by) // most answers are something else
	g.note(begun, time.Since(begun), by.Node, err)
}

func (g *generator) note(begun time.Time, took time.Duration, by string, err error) {
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
	if i := strings.LastIndex(text, ": "); i >= 0 { // after the method, the URL and the addresses
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
