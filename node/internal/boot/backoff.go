package boot

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is how long to wait before trying again: twice as long each time up
// to a limit, and up to a quarter more or less, so that the nodes of a cluster
// that was started at once don't ask at once.
type backoff struct{ first, now, limit time.Duration }

func newBackoff(first, limit time.Duration) *backoff { return &backoff{first, first, limit} }

func (b *backoff) next() time.Duration {
	pause := time.Duration(float64(b.now) * (0.75 + rand.Float64()/2))
	b.now = min(2*b.now, b.limit)
	return pause
}

func (b *backoff) reset() { b.now = b.first }

// sleep waits; false means that the context ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
