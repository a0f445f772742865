// Package fakeaws is a reverse proxy in front of moto that stands in for AWS in the
// provider's tests, the crash sweep, the benchmark and the lab. It decodes, logs
// and delays calls, injects faults, and corrects differences between moto and AWS
// with middlewares (package fixups).
//
// Clients only need the proxy's URL as AWS_ENDPOINT_URL. A call passes through log,
// latency, faults and middlewares in this order: faults apply to what a client
// sends, and fixups only see calls that take effect. Unless a fault drops it, every
// response of moto reaches the client.
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

// Handler handles a call.
type Handler func(*Call) (*http.Response, error)

// Middleware wraps a handler.
type Middleware func(next Handler) Handler

// Fixup is a named middleware that can be disabled. New is called at the start and
// at each Reset, so that the middleware's state is in its closure.
type Fixup struct {
	Name string
	New  func() Middleware
}

// Options are the settings of a Front. Only Upstream is required.
type Options struct {
	// Upstream is moto's URL.
	Upstream string
	// Fixups are applied in order; the first is the outermost.
	Fixups []Fixup
	// Listen is the listen address; empty means a free loopback port.
	Listen string
	// Latency is added before each call.
	Latency time.Duration
	// Seed makes the faults with a Rate reproducible.
	Seed uint64
}

// Front is the running proxy. Its methods are safe for concurrent use.
type Front struct {
	// URL is the value of AWS_ENDPOINT_URL for clients.
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
	off     map[string]bool // disabled fixups
	chain   Handler
}

// New returns a Front that is not served; it is an http.Handler.
func New(o Options) (*Front, error) {
	upstream, err := url.Parse(o.Upstream)
	if err != nil || upstream.Host == "" {
		return nil, fmt.Errorf("fakeaws: %q is not moto's URL", o.Upstream)
	}
	f := &Front{
		upstream: upstream,
		// moto closes idle connections without notice, and a POST on such a
		// connection fails. So each call has its own.
		transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		fixups:    slices.Clone(o.Fixups),
		latency:   o.Latency,
		off:       map[string]bool{},
	}
	f.faults.seed(o.Seed)
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host // signed, and contains the bucket in virtual-hosted style
		},
		Transport:    roundTripper(f.answer),
		ErrorHandler: answerFailure,
	}
	f.build()
	return f, nil
}

// Start returns a Front and serves it until Close.
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
		return nil, fmt.Errorf("fakeaws: listen on %s: %w", listen, err)
	}
	f.URL = "http://" + listener.Addr().String()
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	go func() { _ = f.server.Serve(listener) }()
	return f, nil
}

// Close stops serving and aborts calls in progress.
func (f *Front) Close() error {
	if f.server == nil {
		return nil
	}
	return f.server.Close()
}

// ServeHTTP handles control requests and forwards all others.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if control, ok := f.control(r); ok {
		control.ServeHTTP(w, r)
		return
	}
	f.proxy.ServeHTTP(w, r)
}

// build builds the chain of the enabled fixups with new state.
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

// Reset clears the log, the faults and the fixups' state. It does not reset moto.
func (f *Front) Reset() {
	f.faults.clear()
	f.log.clear()
	f.build()
}

// SetLatency sets the latency that is added before each subsequent call.
func (f *Front) SetLatency(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latency = d
}

// EnableFixup enables or disables a fixup, and resets the state of all fixups.
func (f *Front) EnableFixup(name string, on bool) error {
	if !slices.ContainsFunc(f.fixups, func(m Fixup) bool { return m.Name == name }) {
		return fmt.Errorf("fakeaws: no fixup %q; there are %v", name, f.FixupNames())
	}
	f.mu.Lock()
	f.off[name] = !on
	f.mu.Unlock()
	f.build()
	return nil
}

// FixupNames returns the names of the fixups in order.
func (f *Front) FixupNames() []string {
	names := make([]string, len(f.fixups))
	for i, m := range f.fixups {
		names[i] = m.Name
	}
	return names
}

// answer passes a call through log, latency, faults and fixups.
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

// send sends the call to moto. It continues when the client disconnects: a request
// that reached AWS takes effect whether or not the client waits.
func (f *Front) send(c *Call) (*http.Response, error) {
	return f.transport.RoundTrip(c.Request.WithContext(c.Context()))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// errDropped makes the proxy close the client's connection.
var errDropped = errors.New("fakeaws: connection dropped by a fault")

func answerFailure(w http.ResponseWriter, _ *http.Request, err error) {
	if errors.Is(err, errDropped) || errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, "fakeaws: "+err.Error(), http.StatusBadGateway)
}
