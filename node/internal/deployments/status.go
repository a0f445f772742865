package deployments

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

// status writes the file from which discovery reads the node's applications.
type status struct {
	path       string
	store      store
	supervisor supervisor
	log        hclog.Logger
	mu         *sync.Mutex // serializes writes
}

// run refreshes the file until the context ends.
func (s status) run(ctx context.Context) {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for {
		s.refresh(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh writes the file if its content has changed.
func (s status) refresh(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	applications, err := s.read(ctx)
	if err == nil {
		var content []byte
		if content, err = json.MarshalIndent(applications, "", "  "); err == nil {
			_, err = atomicfile.Write(atomicfile.File{Path: s.path, Content: append(content, '\n'), Mode: 0o644, UID: -1, GID: -1})
		}
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("writing the list of applications failed", "error", err)
	}
}

func (s status) read(ctx context.Context) ([]registry.Application, error) {
	names, err := s.store.applications()
	if err != nil {
		return nil, err
	}
	states, err := s.supervisor.States(ctx, serviceStem+"*.service")
	if err != nil {
		return nil, err
	}
	all := []registry.Application{}
	for _, name := range names {
		v, ok := s.store.current(name)
		if !ok {
			continue
		}
		a := registry.Application{Name: name, Version: v.Version, Port: v.Port, RoutePrefix: v.RoutePrefix, HealthPath: v.HealthPath, HealthRequest: v.HealthRequest, Timeout: v.Timeout, State: registry.AppFailed}
		if states[serviceUnit(name, v.Version)] == systemd.Active {
			a.State = registry.AppRunning
		}
		all = append(all, a)
	}
	return all, nil
}
