package deployments

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/xeroops/xeroops/node/internal/backoff"
)

const (
	// startTimeout is how long a version may take until it answers at all.
	startTimeout = 30 * time.Second
	// badTimeout is how long it may then answer that it is not healthy.
	badTimeout   = 5 * time.Second
	stopTimeout  = 40 * time.Second // more than the template's TimeoutStopSec
	probeTimeout = 2 * time.Second
	probePause   = 50 * time.Millisecond
	// goodAnswers of a version that may share its port are enough.
	goodAnswers = 3
	// aloneFor is longer than uvicorn takes to notice that it is to stop: with
	// several workers it looks every 0.5 s, and they every 0.1 s.
	aloneFor = 800 * time.Millisecond
)

// probe asks a port for a version's health path.
type probe struct {
	host    string // an address of this machine
	port    int
	path    string
	version string
	// alone wants good answers of this version and no others for aloneFor; without
	// it some good ones are enough, as another version may share the port.
	alone bool
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
	url := "http://" + net.JoinHostPort(p.host, strconv.Itoa(p.port)) + p.path
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

// verdict is what the answers so far say of a version.
type verdict struct {
	good      int
	goodSince time.Time
	badSince  time.Time
}

// add takes an answer, and says whether the version is healthy, or an error if it
// has been ill for too long.
func (v *verdict) add(p probe, a answer, now time.Time) (healthy bool, err error) {
	switch {
	case a.version != p.version:
		if p.alone {
			v.good = 0
		}
		return false, nil
	case a.err != nil:
		v.good = 0
		if v.badSince.IsZero() {
			v.badSince = now
		}
		if now.Sub(v.badSince) > badTimeout {
			err = wrong("it is not healthy: %w", a.err)
		}
		return false, err
	}
	v.badSince = time.Time{}
	if v.good++; v.good == 1 {
		v.goodSince = now
	}
	return v.good >= goodAnswers && (!p.alone || now.Sub(v.goodSince) >= aloneFor), nil
}

// await polls until a version is healthy. It gives up at once when the unit no
// longer runs, soon when the version answers that it is not well, and after
// startTimeout when it does not answer.
func (d *deployer) await(ctx context.Context, unit string, p probe) error {
	deadline := time.Now().Add(startTimeout)
	var v verdict
	for {
		a := p.ask(ctx)
		if healthy, err := v.add(p, a, time.Now()); healthy || err != nil {
			return err
		}
		if err := d.runs(ctx, unit); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			if a.err == nil {
				a.err = fmt.Errorf("version %q answered", a.version)
			}
			return wrong("it did not answer on port %d for %s: %w", p.port, startTimeout, a.err)
		}
		pause := probePause
		if a.err == nil && a.version == p.version && !p.alone {
			pause = 0
		}
		if !backoff.Sleep(ctx, pause) {
			return ctx.Err()
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
