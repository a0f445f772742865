package fakeaws

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
)

// Effect is what a fault does to a call.
type Effect string

// The effects of a fault. Where nothing else is said, the call does not reach
// moto.
const (
	// Fail answers with the fault's Code, Message and Status in the shape of
	// the call's protocol.
	Fail Effect = "error"
	// Throttle answers as the service does to too many calls.
	Throttle Effect = "throttle"
	// ServerError answers HTTP 500 with the service's own code for it.
	ServerError Effect = "500"
	// DropBefore cuts the connection.
	DropBefore Effect = "drop-before"
	// DropAfter cuts the connection once the call took effect.
	DropAfter Effect = "drop-after"
	// Observe lets the call through, and only runs After.
	Observe Effect = "observe"
)

// Fault says which calls go wrong and how. The conditions that are set must
// all hold.
type Fault struct {
	// Call and Mutation choose the n-th call and the n-th mutating call since
	// the front started or its log was cleared, counted in order of arrival.
	Call     int `json:"call,omitempty"`
	Mutation int `json:"mutation,omitempty"`
	// Service and Action choose by name.
	Service string `json:"service,omitempty"`
	Action  string `json:"action,omitempty"`
	// Nth chooses the n-th of the calls that match so far.
	Nth int `json:"nth,omitempty"`
	// Rate chooses this share of them, 0 < Rate < 1.
	Rate float64 `json:"rate,omitempty"`
	// Times is how often the fault strikes; 0 means once, -1 without end.
	Times int `json:"times,omitempty"`

	Effect  Effect `json:"effect"`
	Code    string `json:"code,omitempty"`    // for Fail
	Message string `json:"message,omitempty"` // for Fail
	Status  int    `json:"status,omitempty"`  // for Fail; 0 means 400

	// After runs when the call has taken effect and before its answer is
	// given. Only Observe and DropAfter let it take effect.
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
	fs.random = rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // repeatable on purpose
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
			return fmt.Errorf("front: fault %q needs an AWS error code", Fail)
		}
	default:
		return fmt.Errorf("front: unknown effect %q; use %s, %s, %s, %s, %s or %s",
			fault.Effect, Fail, Throttle, ServerError, DropBefore, DropAfter, Observe)
	}
	if fault.After != nil && fault.Effect != Observe && fault.Effect != DropAfter {
		return fmt.Errorf("front: effect %q keeps the call from taking effect, so there is no After", fault.Effect)
	}
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	f.faults.armed = append(f.faults.armed, &armed{Fault: fault})
	return nil
}

// ClearFaults disarms all faults.
func (f *Front) ClearFaults() { f.faults.clear() }

// strike returns the fault that hits the call, if one does.
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

// around answers a call through next unless a fault strikes, and says which
// effect did.
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

// throttled answers as each service does: EC2
// (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html),
// S3 (SlowDown) and IAM and STS (Throttling).
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
