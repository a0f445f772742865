package deployments

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	// startTimeout is how long a version may take until it answers at all.
	startTimeout = 30 * time.Second
	// badTimeout is how long it may then answer that it is not healthy.
	badTimeout   = 5 * time.Second
	stopTimeout  = 40 * time.Second // more than the template's TimeoutStopSec
	probeTimeout = 2 * time.Second
	probePause   = 50 * time.Millisecond
)

// probe asks a port for a version's health path.
type probe struct {
	port    int
	path    string
	version string
	hits    int  // so many good answers of the version are enough
	alone   bool // no other version may answer in between
}

// answer is what one request found.
type answer struct {
	version string
	err     error // nil for 2xx
}

var probes = &http.Client{
	Timeout:       probeTimeout,
	Transport:     &http.Transport{DisableKeepAlives: true}, // a new connection each time, as whoever accepts it answers
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (p probe) ask(ctx context.Context) answer {
	url := "http://127.0.0.1:" + strconv.Itoa(p.port) + p.path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{err: err}
	}
	res, err := probes.Do(req)
	if err != nil {
		return answer{err: err}
	}
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		err = fmt.Errorf("GET %s: status %s", p.path, res.Status)
	}
	return answer{version: res.Header.Get(VersionHeader), err: err}
}

// await polls until a version is healthy. It gives up at once when the unit no
// longer runs, soon when the version answers that it is not well, and after
// startTimeout when it does not answer.
func (d *deployer) await(ctx context.Context, unit string, p probe) error {
	deadline := time.Now().Add(startTimeout)
	var badSince time.Time
	for good := 0; ; {
		a := p.ask(ctx)
		switch {
		case a.version != p.version:
			if p.alone {
				good = 0
			}
			if a.err == nil {
				a.err = fmt.Errorf("version %q answered", a.version)
			}
		case a.err == nil:
			if good++; good >= p.hits {
				return nil
			}
			badSince = time.Time{}
			continue // without a pause
		case badSince.IsZero():
			good, badSince = 0, time.Now()
		case time.Since(badSince) > badTimeout:
			return wrong("it is not healthy: %w", a.err)
		}
		if err := d.runs(ctx, unit); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return wrong("it did not answer on port %d for %s: %w", p.port, startTimeout, a.err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(probePause):
		}
	}
}

func (d *deployer) runs(ctx context.Context, unit string) error {
	states, err := d.supervisor.States(ctx, unit)
	if err != nil {
		return err
	}
	if state := states[unit]; state != stateActive {
		return wrong("it ended while it started")
	}
	return nil
}
