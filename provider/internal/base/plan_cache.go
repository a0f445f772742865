package base

import (
	"sync"
	"time"
)

// planCacheLifetime is how long a look-up of the plan serves the create that follows
// it. Terraform plans each resource again in the very run that creates it, a
// moment before; what lies between is the wait for one of its ten slots.
const planCacheLifetime = 10 * time.Second

// PlanCache hands what a plan has looked up to the create that follows in the same
// process, so that it is not looked up twice in a row.
type PlanCache struct {
	mu    sync.Mutex
	notes map[string]note
}

type note struct {
	value any
	at    time.Time
}

// Put notes a value for a resource of a kind and name.
func (m *PlanCache) Put(kind, name string, value any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.notes == nil {
		m.notes = map[string]note{}
	}
	m.notes[kind+"/"+name] = note{value, time.Now()}
}

// Take returns the value, once, and only while it is recent.
func (m *PlanCache) Take(kind, name string) (any, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, noted := m.notes[kind+"/"+name]
	delete(m.notes, kind+"/"+name)
	return n.value, noted && time.Since(n.at) < planCacheLifetime
}

// vacant is the value of a name under which there is nothing.
type vacant struct{}

// IsVacant reports whether the plan has just found the name unused.
func (m *PlanCache) IsVacant(kind, name string) bool {
	value, recent := m.Take(kind, name)
	_, is := value.(vacant)
	return recent && is
}
