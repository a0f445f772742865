package main

import (
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

func TestLongestChain(t *testing.T) {
	zero := time.Unix(0, 0)
	call := func(seq, from, to int) fakeaws.Record {
		return fakeaws.Record{Seq: seq, Start: zero.Add(time.Duration(from) * time.Second), End: zero.Add(time.Duration(to) * time.Second)}
	}
	for name, tc := range map[string]struct {
		calls []fakeaws.Record
		chain []int
		took  time.Duration
	}{
		"no call":                     {nil, nil, 0},
		"one after the other":         {[]fakeaws.Record{call(1, 0, 1), call(2, 1, 2), call(3, 3, 4)}, []int{1, 2, 3}, 3 * time.Second},
		"side by side, the longer":    {[]fakeaws.Record{call(1, 0, 1), call(2, 0, 3)}, []int{2}, 3 * time.Second},
		"two short beat one long":     {[]fakeaws.Record{call(1, 0, 5), call(2, 0, 3), call(3, 3, 6)}, []int{2, 3}, 6 * time.Second},
		"overlap is no chain":         {[]fakeaws.Record{call(1, 0, 4), call(2, 3, 8)}, []int{2}, 5 * time.Second},
		"a call under way is no part": {[]fakeaws.Record{call(1, 0, 1), {Seq: 2, Start: zero.Add(time.Second)}}, []int{1}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			chain, took := longestChain(tc.calls)
			var seqs []int
			for _, c := range chain {
				seqs = append(seqs, c.Seq)
			}
			if took != tc.took || len(seqs) != len(tc.chain) {
				t.Fatalf("got %v (%s), want %v (%s)", seqs, took, tc.chain, tc.took)
			}
			for i := range seqs {
				if seqs[i] != tc.chain[i] {
					t.Errorf("got %v, want %v", seqs, tc.chain)
				}
			}
		})
	}
}
