package awsbatch

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestConcurrentLookUpsShareACall(t *testing.T) {
	var calls atomic.Int32
	b := New(func(_ context.Context, keys []string) (map[string]string, error) {
		calls.Add(1)
		found := map[string]string{}
		for _, k := range keys {
			if k != "3" {
				found[k] = "value " + k
			}
		}
		return found, nil
	})
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			key := strconv.Itoa(i)
			v, ok, err := b.Get(t.Context(), key)
			if err != nil || ok != (key != "3") || (ok && v != "value "+key) {
				t.Errorf("Get(%s) = %q, %v, %v", key, v, ok, err)
			}
		})
	}
	all.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls for ten look-ups, want 1", n)
	}
}

// On a busy machine, reads start one after the other.
func TestABatchWaitsForKeysThatKeepComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		b := New(func(_ context.Context, keys []string) (map[string]int, error) {
			batches = append(batches, len(keys))
			return nil, nil
		})
		var all sync.WaitGroup
		for i := range 12 { // every 5 ms, so that the last ones come after maxWindow
			time.Sleep(5 * time.Millisecond)
			all.Go(func() { _, _, _ = b.Get(t.Context(), strconv.Itoa(i)) })
		}
		all.Wait()
		if len(batches) != 2 || batches[0] < int(maxWindow/(5*time.Millisecond)) || batches[0]+batches[1] != 12 {
			t.Errorf("the batches had %v keys", batches)
		}
	})
}

func TestFullBatchStartsAnother(t *testing.T) {
	var calls, largest atomic.Int32
	b := New(func(_ context.Context, keys []string) (map[string]int, error) {
		calls.Add(1)
		largest.Store(max(largest.Load(), int32(len(keys))))
		return nil, nil
	})
	var all sync.WaitGroup
	for i := range maxKeys + 1 {
		all.Go(func() { _, _, _ = b.Get(t.Context(), strconv.Itoa(i)) })
	}
	all.Wait()
	if calls.Load() < 2 || largest.Load() > maxKeys {
		t.Errorf("%d calls with up to %d keys, want at least 2 with up to %d", calls.Load(), largest.Load(), maxKeys)
	}
}

func TestCancelledLookUpDoesNotFailOthers(t *testing.T) {
	b := New(func(ctx context.Context, keys []string) (map[string]int, error) {
		return map[string]int{"a": 1, "b": 2}, ctx.Err()
	})
	gone, cancel := context.WithCancel(t.Context())
	first := b.join(gone, "a")
	cancel()
	if v, ok, err := b.Get(t.Context(), "b"); v != 2 || !ok || err != nil {
		t.Errorf("Get(b) = %d, %v, %v", v, ok, err)
	}
	<-first.done
	if _, _, err := b.Get(gone, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled look-up returned %v", err)
	}
}

func TestLookUpsOfARefreshShareAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, failure := 0, error(nil)
		b := New(func(context.Context, []string) (map[string]int, error) {
			calls++
			return map[string]int{"a": calls}, failure
		})
		get := func(ctx context.Context, want int) {
			t.Helper()
			if got, _, err := b.Get(ctx, "a"); err != nil || got != want {
				t.Errorf("got the answer of call %d (%v), want %d", got, err, want)
			}
		}
		get(t.Context(), 1)
		if _, ok := b.Shared("a"); ok {
			t.Error("an answer was shared that was not meant to be")
		}
		get(Share(t.Context()), 2) // not that of a look-up that does not share
		get(Share(t.Context()), 2)
		get(t.Context(), 3)
		get(Share(t.Context()), 2)
		if got, ok := b.Shared("a"); got != 2 || !ok {
			t.Errorf("the shared answer is that of call %d (%v), want 2", got, ok)
		}
		time.Sleep(maxAge + time.Second)
		if _, ok := b.Shared("a"); ok {
			t.Error("an old answer is shared")
		}
		get(Share(t.Context()), 4)

		time.Sleep(maxAge + time.Second)
		failure = errors.New("throttled")
		if _, _, err := b.Get(Share(t.Context()), "a"); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
		failure = nil
		get(Share(t.Context()), 6) // an error is not shared
	})
}
