package discovery

import (
	"math/rand/v2"
	"time"
)

// pause is how long not to ask a registry that is away: longer each time, up to a
// few seconds, and not the same for two nodes.
type pause struct {
	length time.Duration
	until  time.Time
}

const (
	firstPause = 250 * time.Millisecond
	lastPause  = 4 * time.Second
)

func (p *pause) over() bool { return !time.Now().Before(p.until) }

func (p *pause) fail() {
	p.length = min(max(2*p.length, firstPause), lastPause)
	p.until = time.Now().Add(time.Duration(float64(p.length) * (0.75 + rand.Float64()/2)))
}
