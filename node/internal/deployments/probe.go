package deployments

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

// maxShownBytes is how much of a bad answer is reported.
const maxShownBytes = 500

const (
	// unhealthyTimeout is how long a version may then report that it is not healthy.
	unhealthyTimeout = 5 * time.Second
	// killTimeout is how long systemd may take to kill a version after its TimeoutStopSec.
	killTimeout = 10 * time.Second
	// ignoredAfter is when a version that was told to stop, and still answers, is reported:
	// serve.py stops listening at once.
	ignoredAfter  = 5 * time.Second
	probeTimeout  = 2 * time.Second
	probeInterval = 50 * time.Millisecond
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
	health  bundle.HealthRequest // with defaults
	version string
	// alone requires that no other version answers for alonePeriod; without it another
	// version may share the port.
	alone bool
	// startTimeout is how long the version may take to answer.
	startTimeout time.Duration
	// former is the end of a version that was told to stop and may answer until then. The
	// time until then does not count as the new version's.
	former ending
}

// ending is the end of a version.
type ending struct {
	began, killed time.Time // when it was told to stop, and will have been killed
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
	req.Host = p.health.HealthHost
	req.Header.Set("X-Forwarded-Proto", p.health.HealthProto)
	res, err := probeClient.Do(req)
	if err != nil {
		return answer{err: err}
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxShownBytes))
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		shown := strings.Join(strings.Fields(res.Header.Get("Location")+" "+string(body)), " ")
		err = fmt.Errorf("GET %s with Host %s: status %s: %s", p.path, p.health.HealthHost, res.Status, cmp.Or(shown, "without a body"))
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
// and after its startTimeout when it does not answer.
func (d *deployer) awaitHealthy(ctx context.Context, unit string, p probe) error {
	deadline := time.Now().Add(p.startTimeout)
	var s assessment
	reported := false
	for {
		a := p.send(ctx)
		if healthy, err := s.add(p, a, time.Now()); healthy || err != nil {
			return err
		}
		if err := d.checkRunning(ctx, unit); err != nil {
			return err
		}
		if now := time.Now(); !p.former.began.IsZero() && a.version != "" && a.version != p.version {
			if now.After(p.former.killed) {
				return fmt.Errorf("version %s, which was told to stop %s ago, still answers on port %d; end it on this node with systemctl kill; this is no fault of version %s, and is retried",
					a.version, now.Sub(p.former.began).Round(time.Second), p.port, p.version)
			}
			if deadline = now.Add(p.startTimeout); !reported && now.Sub(p.former.began) > ignoredAfter {
				reported = true
				d.log.Warn("former version ignores SIGTERM, waiting until systemd kills it", "version", a.version, "unit", unit)
			}
		}
		if time.Now().After(deadline) {
			if a.err == nil {
				a.err = fmt.Errorf("version %q answered", a.version)
			}
			return permanent("the version did not answer on port %d within %s: %w", p.port, p.startTimeout, a.err)
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
