// Package backoff computes the pauses between retries: each is twice as long as the
// one before, up to a limit, and varies by a quarter, so that nodes that started
// together do not retry together.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is a growing sequence of pauses. [New] makes one.
type Backoff struct{ first, next, limit time.Duration }

// New returns a sequence that begins with about first and grows to about limit.
func New(first, limit time.Duration) *Backoff { return &Backoff{first, first, limit} }

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	pause := time.Duration(float64(b.next) * (0.75 + rand.Float64()/2))
	b.next = min(2*b.next, b.limit)
	return pause
}

// Reset restarts the sequence.
func (b *Backoff) Reset() { b.next = b.first }

// Sleep pauses for d and reports whether it did: false means that the context ended.
func Sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
