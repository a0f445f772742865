// Package awsbatch combines concurrent look-ups into one call: Terraform reads each
// resource on its own, while AWS describes many in one call.
package awsbatch

import (
	"context"
	"sync"
	"time"
)

// A batch is sent once no key was added for window, or maxWindow after its first key.
// Terraform starts its reads within a few milliseconds, on a busy machine within some
// ten, and a call takes longer. (Karpenter waits for 35 ms.)
const (
	window    = 8 * time.Millisecond
	maxWindow = 40 * time.Millisecond
)

// maxKeys is the maximum number of keys in a call: EC2 accepts 200 values per
// filter.
const maxKeys = 200

// maxAge is how old an answer may be that look-ups of one refresh share. A refresh
// reads resources in the order of their dependencies, some calls after each other.
const maxAge = 10 * time.Second

type sharing struct{}

// Share returns a context whose look-ups may return the answer to an earlier one with
// such a context that began up to ten seconds before. It is for the reads of a refresh
// only: what has changed something, or waits for a change, needs a new answer.
func Share(ctx context.Context) context.Context { return context.WithValue(ctx, sharing{}, true) }

// Batch looks up values by key, many in one call. Its zero value is not usable; see
// New.
type Batch[T any] struct {
	fetch func(context.Context, []string) (map[string]T, error)

	mu     sync.Mutex
	next   *call[T]
	shared map[string]*call[T] // newest call of a sharing look-up, by key
}

type call[T any] struct {
	keys    []string
	began   time.Time
	changed time.Time // when the last key was added
	done    chan struct{}
	results map[string]T
	err     error
}

// New returns a Batch that calls fetch, which returns the values of the keys that
// exist.
func New[T any](fetch func(context.Context, []string) (map[string]T, error)) *Batch[T] {
	return &Batch[T]{fetch: fetch, shared: map[string]*call[T]{}}
}

// Get returns the value of key, and whether it exists. All callers within the
// window share one call, so ctx cancels the wait but not the call, and must not change
// the value.
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

// Shared returns the value of key if a look-up that shares its answer has just found
// it. It makes no call.
func (b *Batch[T]) Shared(key string) (T, bool) {
	b.mu.Lock()
	c := b.shared[key]
	b.mu.Unlock()
	var none T
	if !c.isUsable() {
		return none, false
	}
	select {
	case <-c.done:
		result, ok := c.results[key]
		return result, ok
	default:
		return none, false
	}
}

func (b *Batch[T]) join(ctx context.Context, key string) *call[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	shares := ctx.Value(sharing{}) != nil
	if earlier := b.shared[key]; shares && earlier.isUsable() {
		return earlier
	}
	if b.next == nil {
		c := &call[T]{began: time.Now(), done: make(chan struct{})}
		b.next = c
		time.AfterFunc(window, func() { b.send(context.WithoutCancel(ctx), c) })
	}
	c := b.next
	c.keys, c.changed = append(c.keys, key), time.Now()
	if len(c.keys) == maxKeys {
		b.next = nil
	}
	if shares {
		b.shared[key] = c
	}
	return c
}

// isUsable reports whether the answer of a call may be shared: it is recent, and no
// error.
func (c *call[T]) isUsable() bool {
	if c == nil || time.Since(c.began) > maxAge {
		return false
	}
	select {
	case <-c.done:
		return c.err == nil
	default:
		return true // under way
	}
}

func (b *Batch[T]) send(ctx context.Context, c *call[T]) {
	b.mu.Lock()
	if b.next == c {
		if quiet := time.Since(c.changed); quiet < window && time.Since(c.began) < maxWindow {
			time.AfterFunc(window-quiet, func() { b.send(ctx, c) })
			b.mu.Unlock()
			return
		}
		b.next = nil
	}
	keys := c.keys
	b.mu.Unlock()
	c.results, c.err = b.fetch(ctx, keys)
	close(c.done)
}
