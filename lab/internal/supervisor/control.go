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

// State is how far a lab is.
type State struct {
	Config Config `json:"config"`
	PID    int    `json:"pid"`
	Phase  string `json:"phase"` // starting, ready, ending, ended
	Step   string `json:"step"`  // what is being started
	Error  string `json:"error,omitempty"`
}

// The phases of a lab.
const (
	PhaseStarting = "starting"
	PhaseReady    = "ready"
	PhaseEnding   = "ending" // told to end
	PhaseEnded    = "ended"
)

type state struct {
	mu   sync.Mutex
	now  State
	read sync.Once
	seen chan struct{} // closed once somebody saw the end
}

func (s *state) set(change func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.now)
}

func (s *state) begin(step string) { s.advance(PhaseStarting, step) }
func (s *state) ready()            { s.advance(PhaseReady, "") }
func (s *state) ending()           { s.advance(PhaseEnding, "") }

// advance goes on to a phase, unless the lab was told to end.
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

// awaitReader gives whoever waits for the start a moment to learn of its failure.
func (s *state) awaitReader() {
	select {
	case <-s.seen:
	case <-time.After(2 * time.Second):
	}
}

// Fault is an order to break something.
type Fault struct {
	Kind           string `json:"kind"`
	Node           string `json:"node,omitempty"`
	Other          string `json:"other,omitempty"` // partition: the other side; empty is everything
	BytesPerSecond int64  `json:"bytes_per_second,omitempty"`
	IOPS           int64  `json:"iops,omitempty"`
	BitsPerSecond  uint64 `json:"bits_per_second,omitempty"`
}

// serveControl answers on the control socket.
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
	mux.HandleFunc("POST /forwards", answer(s, func(_ context.Context, f Forward) (struct{}, error) { return struct{}{}, s.forward(f) }))
	mux.HandleFunc("POST /images", answer(s, s.importImages))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { s.until(server.Serve(l)) }()
	return server, nil
}

// answer handles a request by what do makes of its body, which is JSON, once the
// lab is up.
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
		return errors.New("the lab is not up yet")
	}
	return nil
}

// importImages takes images from the cache, and leaves out what it has not.
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
	s.log.Info("fault", "kind", f.Kind, "node", f.Node, "other", f.Other)
	switch f.Kind {
	case "power-cut":
		return s.reconciler.PowerCut(f.Node)
	case "freeze":
		return s.reconciler.Freeze(f.Node)
	case "thaw":
		return s.reconciler.Thaw(f.Node)
	case "power-on":
		return s.reconciler.PowerOn(ctx, f.Node)
	case "partition":
		return s.reconciler.Partition(ctx, f.Node, f.Other)
	case "heal":
		return s.reconciler.Heal(ctx)
	case "slow-disk":
		return s.reconciler.SlowDisk(f.Node, machine.Throttle{BytesPerSecond: f.BytesPerSecond, IOPS: f.IOPS})
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
	_ = json.NewEncoder(w).Encode(answer) // a client that left needs none
}
