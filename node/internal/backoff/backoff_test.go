package backoff

import (
	"testing"
	"time"
)

func TestPausesGrowToTheLimit(t *testing.T) {
	b := New(time.Second, 5*time.Second)
	for _, about := range []time.Duration{1, 2, 4, 5, 5} {
		if got := b.Next(); got < about*time.Second*3/4 || got > about*time.Second*5/4 {
			t.Errorf("got %s, want about %ds", got, about)
		}
	}
	b.Reset()
	if got := b.Next(); got > 1250*time.Millisecond {
		t.Errorf("after Reset: %s, want about 1s", got)
	}
}
