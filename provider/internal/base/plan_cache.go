package base

import (
	"sync"
	"time"
)

// planCacheLifetime is how long the create may use a result of the plan. Terraform
// plans a resource again in the run that creates it; in between is only the wait
// for one of Terraform's ten slots.
const planCacheLifetime = 10 * time.Second

// PlanCache passes results of a plan to the create that follows in the same
// process, which so avoids repeating the look-up.
type PlanCache struct {
	mu      sync.Mutex
	entries map[string]cacheEntry
}

type cacheEntry struct {
	value any
	at    time.Time
}

// Put stores a value for a resource by type and name.
func (c *PlanCache) Put(kind, name string, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[string]cacheEntry{}
	}
	c.entries[kind+"/"+name] = cacheEntry{value, time.Now()}
}

// Take removes and returns the value, if there is one and it is recent.
func (c *PlanCache) Take(kind, name string) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry, ok := c.entries[kind+"/"+name]
	delete(c.entries, kind+"/"+name)
	return entry.value, ok && time.Since(entry.at) < planCacheLifetime
}

// vacant is the value of an unused name.
type vacant struct{}

// IsVacant reports whether the plan has just found the name unused.
func (c *PlanCache) IsVacant(kind, name string) bool {
	value, recent := c.Take(kind, name)
	_, is := value.(vacant)
	return recent && is
}
