package routing

import (
	"context"
	"reflect"
	"time"

	"github.com/xeroops/xeroops/internal/registry"
)

const (
	// publishInterval is how often the servers are read while some are not up yet.
	publishInterval = 100 * time.Millisecond
	// maxPublishing limits that: what is still down then is read again every
	// resyncInterval.
	maxPublishing = 10 * time.Second
)

// publishDue publishes the routes that are in effect after a reconcile, until all servers
// are up. It returns a channel that receives when to call it again, or nil.
func (r *Routing) publishDue(ctx context.Context) (next <-chan time.Time) {
	if !time.Now().Before(r.publishUntil) {
		return nil
	}
	complete, err := r.publish(ctx)
	if ctx.Err() == nil {
		r.unpublished.Set(r.Log, "publishing routes failed, retrying", err)
	}
	if complete || err != nil { // the next reconcile retries
		r.publishUntil = time.Time{}
		return nil
	}
	return time.After(publishInterval)
}

// publish writes the routes that are in effect to the registry, and reports whether all
// desired servers are up.
func (r *Routing) publish(ctx context.Context) (complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	running, err := runningServers(ctx, r.Balancer.StatsSocket)
	if err != nil {
		return false, err
	}
	effective, complete := effectiveRoutes(r.desired, running)
	if reflect.DeepEqual(effective, r.published) {
		return complete, nil
	}
	if err := registry.WriteRoutes(ctx, r.Redis, effective); err != nil {
		return false, err
	}
	r.published = effective
	return complete, nil
}

// effectiveRoutes returns the servers that are up and desired.
func effectiveRoutes(desired Routes, running map[string]map[string]runningServer) (effective registry.Routes, complete bool) {
	effective, complete = registry.Routes{}, true
	for _, a := range desired.Applications {
		route := registry.Route{Prefixes: a.Prefixes, Ports: map[string]int{}}
		for _, s := range a.Servers {
			current := running[a.Backend()][s.Name]
			if current.up && current.port == s.Port && !current.maintenance {
				route.Ports[s.Name] = s.Port
			} else {
				complete = false
			}
		}
		effective[a.Name] = route
	}
	return effective, complete
}
