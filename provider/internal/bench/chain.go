package main

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// longestChain returns the calls of the sequence that took longest in total,
// among all sequences in which each call begins after the one before it ended,
// and that total.
//
// A call that needs another's answer can't begin before that has ended, so
// every real chain of dependent calls is such a sequence, and the longest one
// bounds what more parallelism could gain: an apply takes at least as long as
// its longest real chain. The log does not know which call needed which, so
// this may be longer than any real chain, and wall time divided by it is at
// least 1: what is above 1 is time in which Terraform or the provider worked
// or waited without a call being under way.
func longestChain(calls []fakeaws.Record) ([]fakeaws.Record, time.Duration) {
	calls = slices.DeleteFunc(slices.Clone(calls), func(c fakeaws.Record) bool { return c.End.IsZero() })
	slices.SortFunc(calls, func(a, b fakeaws.Record) int { return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.Seq, b.Seq)) })
	// best[i] is the longest chain among the first i calls by their end;
	// before[i] is how many of them ended when the i-th began.
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
