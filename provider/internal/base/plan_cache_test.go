package base

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAMemoServesOnceAndOnlyWhileFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m PlanCache
		if _, ok := m.Take("vpc", "a"); ok {
			t.Error("an empty memo has something")
		}
		m.Put("vpc", "a", 1)
		if v, ok := m.Take("vpc", "a"); !ok || v != 1 {
			t.Errorf("got %v, %v", v, ok)
		}
		if _, ok := m.Take("vpc", "a"); ok {
			t.Error("it serves twice")
		}
		m.Put("vpc", "a", vacant{})
		time.Sleep(planCacheLifetime + time.Second)
		if m.IsVacant("vpc", "a") {
			t.Error("it serves when it is stale")
		}
	})
}
