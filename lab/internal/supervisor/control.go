//go:build linux

package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/xeroops/xeroops/lab/internal/imagecache"
	"github.com/xeroops/xeroops/lab/internal/machine"
)

// State is the state of a lab and its supervisor.
type State struct {
	Config Config `json:"config"`
	PID    int    `json:"pid"`
	Phase  string `json:"phase"`
	Step   string `json:"step"` // the current step of starting the lab
	Error  string `json:"error,omitempty"`
}

// The phases of a lab.
const (
	PhaseStarting = "starting"
	PhaseReady    = "ready"
	PhaseEnding   = "ending"
	PhaseEnded    = "ended"
)

// state is the current State, safe for concurrent use.
type state struct {
	mu   sync.Mutex
	now  State
	read sync.Once
	seen chan struct{} // closed once a client has read PhaseEnded
}

func (s *state) set(change func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.now)
}

func (s *state) begin(step string) { s.advance(PhaseStarting, step) }
func (s *state) ready()            { s.advance(PhaseReady, "") }
func (s *state) ending()           { s.advance(PhaseEnding, "") }

// advance sets the phase, unless the lab is ending.
func (s *state) advance(phase, step string) {
	s.set(func(n *State) {
		if n.Phase != PhaseEnding && n.Phase != PhaseEnded {
			n.Phase, n.Step = phase, step
		}
	})
}

func (s *state) end(err error) {
	s.set(func(n *State) {
		n.Phase = PhaseEnded
		if err != nil {
			n.Error = err.Error()
		}
	})
}

func (s *state) get() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Phase == PhaseEnded {
		s.read.Do(func() { close(s.seen) })
	}
	return s.now
}

// awaitReader waits up to readerTimeout for a client to read that the lab has failed.
func (s *state) awaitReader() {
	select {
	case <-s.seen:
	case <-time.After(readerTimeout):
	}
}

// readerTimeout is a multiple of the poll interval of xeroops-lab up.
const readerTimeout = 2 * time.Second

// Fault is a request to inject, or to end, a fault.
type Fault struct {
	Kind           string   `json:"kind"`
	Node           string   `json:"node,omitempty"`
	Others         []string `json:"others,omitempty"` // partition: the other side; empty for everything
	BytesPerSecond int64    `json:"bytes_per_second,omitempty"`
	IOPS           int64    `json:"iops,omitempty"`
	BitsPerSecond  uint64   `json:"bits_per_second,omitempty"`
}

// serveControl serves the control socket.
func (s *Supervisor) serveControl() (io.Closer, error) {
	s.state.seen = make(chan struct{})
	s.state.now = State{Config: s.config, PID: os.Getpid(), Phase: PhaseStarting}
	l, err := net.Listen("unix", s.config.socket())
	if err != nil {
		return nil, fmt.Errorf("start lab %s: %w", s.config.Name, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.state.get(), nil) })
	mux.HandleFunc("POST /down", func(w http.ResponseWriter, _ *http.Request) {
		s.state.ending()
		reply(w, struct{}{}, nil)
		s.stop()
	})
	mux.HandleFunc("GET /instances", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.isReady(); err != nil {
			reply(w, nil, err)
			return
		}
		reply(w, s.reconciler.Status(), nil)
	})
	mux.HandleFunc("POST /faults", answer(s, func(ctx context.Context, f Fault) (struct{}, error) { return struct{}{}, s.inject(ctx, f) }))
	mux.HandleFunc("POST /forwards", answer(s, func(_ context.Context, f Forward) (string, error) { return s.forward(f) }))
	mux.HandleFunc("POST /images", answer(s, s.importImages))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { s.logServerError(server.Serve(l)) }()
	return server, nil
}

// answer returns a handler that decodes the request's JSON body, calls do and encodes
// its result. It returns an error while the lab is not ready.
func answer[In, Out any](s *Supervisor, do func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		var out Out
		err := json.NewDecoder(r.Body).Decode(&in)
		if err == nil {
			err = s.isReady()
		}
		if err == nil {
			out, err = do(r.Context(), in)
		}
		reply(w, out, err)
	}
}

func (s *Supervisor) isReady() error {
	if s.state.get().Phase != PhaseReady {
		return errors.New("the lab is still starting, or is shutting down")
	}
	return nil
}

// importImages registers cached images and returns their ids by content digest. Those
// that are not in the cache are left out.
func (s *Supervisor) importImages(ctx context.Context, contents []string) (ids map[string]string, err error) {
	ids = map[string]string{}
	for _, content := range contents {
		id, err := s.reconciler.ImportImage(ctx, content)
		if errors.Is(err, imagecache.ErrMissing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ids[content] = id
	}
	return ids, nil
}

func (s *Supervisor) inject(ctx context.Context, f Fault) error {
	s.log.Info("injecting fault", "kind", f.Kind, "node", f.Node, "others", f.Others)
	switch f.Kind {
	case "power-cut":
		return s.reconciler.PowerCut(ctx, f.Node)
	case "freeze":
		return s.reconciler.Freeze(ctx, f.Node)
	case "thaw":
		return s.reconciler.Thaw(ctx, f.Node)
	case "power-on":
		return s.reconciler.PowerOn(ctx, f.Node)
	case "partition":
		return s.reconciler.Partition(ctx, f.Node, f.Others)
	case "heal":
		return s.reconciler.Heal(ctx)
	case "slow-disk":
		return s.reconciler.SlowDisk(f.Node, machine.Throttle{BytesPerSecond: f.BytesPerSecond, IOPS: f.IOPS})
	case "stall-disk":
		return s.reconciler.SlowDisk(f.Node, machine.Stall)
	case "slow-link":
		return s.reconciler.SlowLink(ctx, f.Node, f.BitsPerSecond)
	}
	return fmt.Errorf("unknown fault %q", f.Kind)
}

func reply(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // fails if the client has gone
}
