package main

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// longestChain returns the sequence of calls with the longest total duration, among
// all sequences in which each call starts after the previous one ended, and that
// duration.
//
// A call that needs the result of another cannot start before that one has ended.
// So every chain of dependent calls is such a sequence, and no apply can be faster
// than its longest chain of dependent calls. The log does not have the
// dependencies, so the result can be longer than that chain. Wall time divided by
// the result is at least 1; the rest is time in which Terraform or the provider
// worked or waited without a call in progress.
func longestChain(calls []fakeaws.Record) ([]fakeaws.Record, time.Duration) {
	calls = slices.DeleteFunc(slices.Clone(calls), func(c fakeaws.Record) bool { return c.End.IsZero() })
	slices.SortFunc(calls, func(a, b fakeaws.Record) int { return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.Seq, b.Seq)) })
	// best[i] is the longest chain among the first i calls in order of their end.
	// before[i] is how many of them ended before the i-th started.
	best := make([]time.Duration, len(calls)+1)
	before := make([]int, len(calls)+1)
	for i, c := range calls {
		before[i+1] = sort.Search(i, func(n int) bool { return calls[n].End.After(c.Start) })
		best[i+1] = max(best[i], best[before[i+1]]+took(c))
	}
	var chain []fakeaws.Record
	for i := len(calls); i > 0; {
		if best[i] == best[i-1] {
			i--
			continue
		}
		chain = append(chain, calls[i-1])
		i = before[i]
	}
	slices.Reverse(chain)
	return chain, best[len(calls)]
}

func took(c fakeaws.Record) time.Duration { return c.End.Sub(c.Start) }
