// Package backoff is how long the node's daemons wait before they try again what
// failed: twice as long each time up to a limit, and up to a quarter more or less,
// so that the nodes of a cluster that was started at once don't ask at once.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is the pauses between tries of one thing. [New] makes one.
type Backoff struct{ first, now, limit time.Duration }

// New returns pauses that begin with about first and grow to about limit.
func New(first, limit time.Duration) *Backoff { return &Backoff{first, first, limit} }

// Next is how long to wait now.
func (b *Backoff) Next() time.Duration {
	pause := time.Duration(float64(b.now) * (0.75 + rand.Float64()/2))
	b.now = min(2*b.now, b.limit)
	return pause
}

// Reset makes the next pause a first one again.
func (b *Backoff) Reset() { b.now = b.first }

// Sleep waits; false means that the context ended.
func Sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
