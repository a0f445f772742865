package deployments

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

const (
	// startTimeout is how long a version may take to answer its first request.
	startTimeout = 30 * time.Second
	// unhealthyTimeout is how long a version may then report that it is not healthy.
	unhealthyTimeout = 5 * time.Second
	stopTimeout      = 40 * time.Second // more than the template's TimeoutStopSec
	probeTimeout     = 2 * time.Second
	probeInterval    = 50 * time.Millisecond
	// minAnswers is the number of healthy answers in a row that make a version healthy.
	minAnswers = 3
	// alonePeriod is the time for which they must come from no other version. It is longer
	// than uvicorn takes to react to SIGTERM: with several workers, the parent polls every
	// 0.5 s and the workers every 0.1 s.
	alonePeriod = 800 * time.Millisecond
)

// probe is a health check of a version.
type probe struct {
	host    string // an address of this machine
	port    int
	path    string
	version string
	// alone requires that no other version answers for alonePeriod; without it another
	// version may share the port.
	alone bool
}

// answer is the result of one request.
type answer struct {
	version string
	err     error // nil for a status of 2xx
}

var probeClient = &http.Client{
	Timeout:       probeTimeout,
	Transport:     &http.Transport{DisableKeepAlives: true}, // each connection may be accepted by another version
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// send sends one request.
func (p probe) send(ctx context.Context) answer {
	url := "http://" + net.JoinHostPort(p.host, strconv.Itoa(p.port)) + p.path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{err: err}
	}
	res, err := probeClient.Do(req)
	if err != nil {
		return answer{err: err}
	}
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		err = fmt.Errorf("GET %s: status %s", p.path, res.Status)
	}
	return answer{version: res.Header.Get(VersionHeader), err: err}
}

// assessment is the health of a version according to its answers.
type assessment struct {
	healthy        int // answers in a row
	healthySince   time.Time
	unhealthySince time.Time
}

// add adds an answer and reports whether the version is healthy. It returns an error if
// the version has been unhealthy for too long.
func (s *assessment) add(p probe, a answer, now time.Time) (healthy bool, err error) {
	switch {
	case a.version != p.version:
		if p.alone {
			s.healthy = 0
		}
		return false, nil
	case a.err != nil:
		s.healthy = 0
		if s.unhealthySince.IsZero() {
			s.unhealthySince = now
		}
		if now.Sub(s.unhealthySince) > unhealthyTimeout {
			err = permanent("the version is not healthy: %w", a.err)
		}
		return false, err
	}
	s.unhealthySince = time.Time{}
	if s.healthy++; s.healthy == 1 {
		s.healthySince = now
	}
	return s.healthy >= minAnswers && (!p.alone || now.Sub(s.healthySince) >= alonePeriod), nil
}

// awaitHealthy polls until a version is healthy. It fails at once when the unit is no
// longer running, after unhealthyTimeout when the version reports that it is not healthy,
// and after startTimeout when it does not answer.
func (d *deployer) awaitHealthy(ctx context.Context, unit string, p probe) error {
	deadline := time.Now().Add(startTimeout)
	var s assessment
	for {
		a := p.send(ctx)
		if healthy, err := s.add(p, a, time.Now()); healthy || err != nil {
			return err
		}
		if err := d.checkRunning(ctx, unit); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			if a.err == nil {
				a.err = fmt.Errorf("version %q answered", a.version)
			}
			return permanent("the version did not answer on port %d within %s: %w", p.port, startTimeout, a.err)
		}
		pause := probeInterval
		if a.err == nil && a.version == p.version && !p.alone {
			pause = 0
		}
		if !backoff.Sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

func (d *deployer) checkRunning(ctx context.Context, unit string) error {
	states, err := d.supervisor.States(ctx, unit)
	if err != nil {
		return err
	}
	if state := states[unit]; state != systemd.Active {
		return permanent("the version exited while starting")
	}
	return nil
}
