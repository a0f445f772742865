package base

import (
	"context"
	"testing"

	"github.com/xeroops/xeroops/provider/internal/awsbatch"
)

// An apply changes what a data source reads, possibly between the reads of two.
func TestDataSourcesShareAnswersInARefreshOnly(t *testing.T) {
	calls := 0
	b := awsbatch.New(func(context.Context, []string) (map[string]int, error) {
		calls++
		return map[string]int{"a": calls}, nil
	})
	p := &ProviderData{Claims: NewClaims("")}
	read := func() int {
		n, _, err := b.Get(p.ShareInRefresh(t.Context()), "a")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if first, second := read(), read(); first == second {
		t.Error("two reads of an apply shared an answer")
	}
	p.Claims.hasRead = true // a resource of the state
	if first, second := read(), read(); first != second {
		t.Error("two reads of a refresh did not share an answer")
	}
}
