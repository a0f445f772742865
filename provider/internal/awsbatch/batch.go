// Package awsbatch turns look-ups that several resources make at the same time
// into one call: Terraform reads each resource by itself, and AWS describes
// many things at once.
package awsbatch

import (
	"context"
	"sync"
	"time"
)

// window is how long a batch gathers keys before it is sent: Terraform starts
// its reads within a few milliseconds, and a call takes ten times as long. (The
// same idea, with 35 ms, serves Karpenter.)
const window = 8 * time.Millisecond

// maxKeys is how many keys go out in one call: EC2 takes 200 values a filter.
const maxKeys = 200

// Batch looks things up by key, many at a time. Its zero value is not usable;
// see New.
type Batch[T any] struct {
	fetch func(context.Context, []string) (map[string]T, error)

	mu   sync.Mutex
	next *call[T]
}

type call[T any] struct {
	keys    []string
	done    chan struct{}
	results map[string]T
	err     error
}

// New returns a Batch over fetch, which answers with what exists of the keys.
func New[T any](fetch func(context.Context, []string) (map[string]T, error)) *Batch[T] {
	return &Batch[T]{fetch: fetch}
}

// Get returns what key names, and whether it exists. The call serves everybody
// who asks within the window, so it is not cancelled with ctx; the wait is.
func (b *Batch[T]) Get(ctx context.Context, key string) (T, bool, error) {
	c := b.join(ctx, key)
	var none T
	select {
	case <-ctx.Done():
		return none, false, context.Cause(ctx)
	case <-c.done:
	}
	if c.err != nil {
		return none, false, c.err
	}
	result, ok := c.results[key]
	return result, ok, nil
}

func (b *Batch[T]) join(ctx context.Context, key string) *call[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		c := &call[T]{done: make(chan struct{})}
		b.next = c
		time.AfterFunc(window, func() { b.send(context.WithoutCancel(ctx), c) })
	}
	c := b.next
	c.keys = append(c.keys, key)
	if len(c.keys) == maxKeys {
		b.next = nil
	}
	return c
}

func (b *Batch[T]) send(ctx context.Context, c *call[T]) {
	b.mu.Lock()
	if b.next == c {
		b.next = nil
	}
	keys := c.keys
	b.mu.Unlock()
	c.results, c.err = b.fetch(ctx, keys)
	close(c.done)
}
