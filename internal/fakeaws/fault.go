package fakeaws

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
)

// Effect is the effect of a fault on a call.
type Effect string

// The effects of a fault. Unless noted otherwise, the call does not reach moto.
const (
	// Fail returns an error with the fault's Code, Message and Status in the call's
	// protocol.
	Fail Effect = "error"
	// Throttle returns the service's error for too many calls.
	Throttle Effect = "throttle"
	// ServerError returns HTTP 500 with the service's code for internal errors.
	ServerError Effect = "500"
	// DropBefore closes the connection before the call takes effect.
	DropBefore Effect = "drop-before"
	// DropAfter closes the connection after the call took effect.
	DropAfter Effect = "drop-after"
	// Observe carries out the call and runs After.
	Observe Effect = "observe"
)

// Fault selects calls and has the effect on them. A call must match all conditions
// that are set.
type Fault struct {
	// Call and Mutation select the n-th call and the n-th mutating call since the
	// proxy started or its log was cleared, in order of arrival.
	Call     int `json:"call,omitempty"`
	Mutation int `json:"mutation,omitempty"`
	// Service and Action select calls by name.
	Service string `json:"service,omitempty"`
	Action  string `json:"action,omitempty"`
	// Nth selects the n-th of the matching calls.
	Nth int `json:"nth,omitempty"`
	// Rate selects a random share of the matching calls, 0 < Rate < 1.
	Rate float64 `json:"rate,omitempty"`
	// Times is how many calls the fault affects: 0 means one, -1 all.
	Times int `json:"times,omitempty"`

	Effect  Effect `json:"effect"`
	Code    string `json:"code,omitempty"`    // for Fail
	Message string `json:"message,omitempty"` // for Fail
	Status  int    `json:"status,omitempty"`  // for Fail; 0 means 400

	// After is called when the call has taken effect, before the response is sent.
	// It requires Observe or DropAfter.
	After func(*Call) `json:"-"`
}

type armed struct {
	Fault
	seen, struck int
}

type faults struct {
	mu     sync.Mutex
	armed  []*armed
	random *rand.Rand
}

func (fs *faults) seed(seed uint64) {
	fs.random = rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // reproducible by design
}

func (fs *faults) clear() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.armed = nil
}

// Inject arms a fault.
func (f *Front) Inject(fault Fault) error {
	switch fault.Effect {
	case Throttle, ServerError, DropBefore, DropAfter, Observe:
	case Fail:
		if fault.Code == "" {
			return fmt.Errorf("fakeaws: fault %q needs an AWS error code", Fail)
		}
	default:
		return fmt.Errorf("fakeaws: unknown effect %q; use %s, %s, %s, %s, %s or %s",
			fault.Effect, Fail, Throttle, ServerError, DropBefore, DropAfter, Observe)
	}
	if fault.After != nil && fault.Effect != Observe && fault.Effect != DropAfter {
		return fmt.Errorf("fakeaws: effect %q does not allow After, because the call does not take effect", fault.Effect)
	}
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	f.faults.armed = append(f.faults.armed, &armed{Fault: fault})
	return nil
}

// ClearFaults disarms all faults.
func (f *Front) ClearFaults() { f.faults.clear() }

// strike returns the fault that affects the call, or nil.
func (fs *faults) strike(c *Call) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, a := range fs.armed {
		if !a.matches(c) {
			continue
		}
		a.seen++
		if a.Nth > 0 && a.seen != a.Nth {
			continue
		}
		if a.Rate > 0 && fs.random.Float64() >= a.Rate {
			continue
		}
		if a.Times >= 0 && a.struck >= cmp.Or(a.Times, 1) {
			continue
		}
		a.struck++
		return &a.Fault
	}
	return nil
}

func (a *armed) matches(c *Call) bool {
	return (a.Call == 0 || a.Call == c.Seq) &&
		(a.Mutation == 0 || a.Mutation == c.Mutation) &&
		(a.Service == "" || a.Service == c.Service) &&
		(a.Action == "" || a.Action == c.Action)
}

// around handles a call with next unless a fault strikes, and returns the effect of
// the fault.
func (fs *faults) around(c *Call, next Handler) (*http.Response, string, error) {
	fault := fs.strike(c)
	if fault == nil {
		res, err := next(c)
		return res, "", err
	}
	effect := string(fault.Effect)
	switch fault.Effect {
	case Fail:
		return c.Error(cmp.Or(fault.Status, http.StatusBadRequest), fault.Code, fault.Message), fault.Code, nil
	case Throttle:
		return throttled(c), effect, nil
	case ServerError:
		return c.Error(http.StatusInternalServerError, "InternalError", "An internal error has occurred"), effect, nil
	case DropBefore:
		return nil, effect, errDropped
	}
	res, err := next(c)
	if fault.After != nil {
		fault.After(c)
	}
	if fault.Effect == DropAfter {
		if err == nil {
			_ = res.Body.Close()
		}
		return nil, effect, errDropped
	}
	return res, effect, err
}

// throttled returns the error of each service for too many calls: EC2
// (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html), S3
// (SlowDown) and IAM and STS (Throttling).
func throttled(c *Call) *http.Response {
	switch c.Service {
	case EC2:
		return c.Error(http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded.")
	case S3:
		return c.Error(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	default:
		return c.Error(http.StatusBadRequest, "Throttling", "Rate exceeded")
	}
}
