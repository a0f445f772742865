package base

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPlanCacheReturnsAValueOnceAndWhileRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c PlanCache
		if _, ok := c.Take("vpc", "a"); ok {
			t.Error("an empty cache has a value")
		}
		c.Put("vpc", "a", 1)
		if v, ok := c.Take("vpc", "a"); !ok || v != 1 {
			t.Errorf("got %v, %v", v, ok)
		}
		if _, ok := c.Take("vpc", "a"); ok {
			t.Error("a value is returned twice")
		}
		c.Put("vpc", "a", vacant{})
		time.Sleep(planCacheLifetime + time.Second)
		if c.IsVacant("vpc", "a") {
			t.Error("an expired value is returned")
		}
	})
}
