// Package fakeaws is the reverse proxy that stands before moto wherever the
// project needs AWS: the provider's tests, the crash sweep, the benchmark and
// the lab. It decodes each call, logs it, delays it, makes it fail on request,
// and passes it through a list of middlewares, some of which correct what moto
// does otherwise than AWS (package fixups).
//
// The contract: clients need nothing but the front's URL as AWS_ENDPOINT_URL;
// a call goes through log, latency, faults and middlewares in that order, so
// faults hit what a client sends and fixups see only what takes effect. An
// answer that moto gave is never lost between moto and the client, unless a
// fault says so.
package fakeaws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Handler answers a call.
type Handler func(*Call) (*http.Response, error)

// Middleware wraps a handler.
type Middleware func(next Handler) Handler

// Fixup is a named middleware that a user of the front may leave out. New is
// called at the start and at each Reset: state lives in its closure.
type Fixup struct {
	Name string
	New  func() Middleware
}

// Options say what a front does; only Upstream is needed.
type Options struct {
	// Upstream is moto's URL.
	Upstream string
	// Fixups are applied in order, the first one outermost.
	Fixups []Fixup
	// Listen is the address to serve on; empty means a free loopback port.
	Listen string
	// Latency is added before each call.
	Latency time.Duration
	// Seed makes faults with a rate repeatable.
	Seed uint64
}

// Front is a running front. Its methods are safe for concurrent use.
type Front struct {
	// URL is what clients use as AWS_ENDPOINT_URL.
	URL string

	upstream  *url.URL
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	server    *http.Server
	fixups    []Fixup
	faults    faults
	log       callLog

	mu      sync.RWMutex
	latency time.Duration
	off     map[string]bool // fixups that are switched off
	chain   Handler
}

// New makes a front that is served by whoever wants: it is an http.Handler.
func New(o Options) (*Front, error) {
	upstream, err := url.Parse(o.Upstream)
	if err != nil || upstream.Host == "" {
		return nil, fmt.Errorf("front: %q is not moto's URL", o.Upstream)
	}
	f := &Front{
		upstream: upstream,
		// moto closes idle connections without a word, and a POST that meets
		// such a one is lost: one connection a call, and none is.
		transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		fixups:    slices.Clone(o.Fixups),
		latency:   o.Latency,
		off:       map[string]bool{},
	}
	f.faults.seed(o.Seed)
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host // it is signed, and names the bucket in virtual-hosted style
		},
		Transport:    roundTripper(f.answer),
		ErrorHandler: answerFailure,
	}
	f.build()
	return f, nil
}

// Start makes a front and serves it until Close.
func Start(o Options) (*Front, error) {
	f, err := New(o)
	if err != nil {
		return nil, err
	}
	listen := o.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("front: listen on %s: %w", listen, err)
	}
	f.URL = "http://" + listener.Addr().String()
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	go func() { _ = f.server.Serve(listener) }()
	return f, nil
}

// Close stops serving; calls that are under way are cut off.
func (f *Front) Close() error {
	if f.server == nil {
		return nil
	}
	return f.server.Close()
}

// ServeHTTP takes the front's own control requests and passes on the rest.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if control, ok := f.control(r); ok {
		control.ServeHTTP(w, r)
		return
	}
	f.proxy.ServeHTTP(w, r)
}

// build makes the chain of the fixups that are on, with fresh state.
func (f *Front) build() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chain = f.send
	for _, m := range slices.Backward(f.fixups) {
		if !f.off[m.Name] {
			f.chain = m.New()(f.chain)
		}
	}
}

// Reset forgets calls, faults and the fixups' state; it does not touch moto.
func (f *Front) Reset() {
	f.faults.clear()
	f.log.clear()
	f.build()
}

// SetLatency changes what is added before each call from now on.
func (f *Front) SetLatency(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latency = d
}

// EnableFixup turns a fixup on or off, and gives all fixups fresh state.
func (f *Front) EnableFixup(name string, on bool) error {
	if !slices.ContainsFunc(f.fixups, func(m Fixup) bool { return m.Name == name }) {
		return fmt.Errorf("front: no fixup %q; there are %v", name, f.FixupNames())
	}
	f.mu.Lock()
	f.off[name] = !on
	f.mu.Unlock()
	f.build()
	return nil
}

// FixupNames lists the fixups in their order.
func (f *Front) FixupNames() []string {
	names := make([]string, len(f.fixups))
	for i, m := range f.fixups {
		names[i] = m.Name
	}
	return names
}

// answer takes a call through log, latency, faults and fixups.
func (f *Front) answer(r *http.Request) (*http.Response, error) {
	c, err := decode(r)
	if err != nil {
		return nil, err
	}
	c.upstream = f.upstream.String()
	record := f.log.begin(c, mutates(c))
	f.mu.RLock()
	latency, chain := f.latency, f.chain
	f.mu.RUnlock()
	if err := wait(r.Context(), latency); err != nil {
		f.log.end(record, 0, err.Error())
		return nil, err
	}
	res, fault, err := f.faults.around(c, chain)
	status := 0
	if err == nil {
		status = res.StatusCode
	}
	f.log.end(record, status, fault)
	return res, err
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// send passes the call to moto. The client's going away does not stop it: a
// request that reached AWS takes effect, whoever waits for the answer.
func (f *Front) send(c *Call) (*http.Response, error) {
	return f.transport.RoundTrip(c.Request.WithContext(c.Context()))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// errDropped makes the proxy cut the client's connection.
var errDropped = errors.New("front: connection dropped by a fault")

func answerFailure(w http.ResponseWriter, _ *http.Request, err error) {
	if errors.Is(err, errDropped) || errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, "front: "+err.Error(), http.StatusBadGateway)
}
