package fakeaws

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ControlPath is the path prefix of requests to the proxy itself. No bucket name
// contains an underscore, so it is never a path of S3.
//
//	GET    calls    returns the log, a list of Record
//	DELETE calls    clears the log
//	POST   faults   arms a Fault
//	DELETE faults   disarms all faults
//	PUT    latency  {"latency":"300ms"}
//	PUT    fixups   {"name":"…","on":false}
//	POST   reset    clears log and faults, and resets the fixups
const ControlPath = "/_xeroops_front/"

// control returns the handler of a control request, and whether the request is one.
func (f *Front) control(r *http.Request) (http.HandlerFunc, bool) {
	name, ok := strings.CutPrefix(r.URL.Path, ControlPath)
	if !ok {
		return nil, false
	}
	handle := map[string]func(*http.Request) (any, error){
		"GET calls":     func(*http.Request) (any, error) { return f.Calls(), nil },
		"DELETE calls":  func(*http.Request) (any, error) { f.ClearCalls(); return nil, nil },
		"POST faults":   f.controlInject,
		"DELETE faults": func(*http.Request) (any, error) { f.ClearFaults(); return nil, nil },
		"PUT latency":   f.controlLatency,
		"PUT fixups":    f.controlFixup,
		"POST reset":    func(*http.Request) (any, error) { f.Reset(); return nil, nil },
	}[r.Method+" "+name]
	if handle == nil {
		return func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, fmt.Sprintf("unknown control request %s %s", r.Method, name), http.StatusNotFound)
		}, true
	}
	return func(w http.ResponseWriter, r *http.Request) {
		result, err := handle(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if result == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result) // fails only if the client disconnected
	}, true
}

func (f *Front) controlInject(r *http.Request) (any, error) {
	var fault Fault
	if err := decodeJSON(r, &fault); err != nil {
		return nil, err
	}
	return nil, f.Inject(fault)
}

func (f *Front) controlLatency(r *http.Request) (any, error) {
	var in struct {
		Latency string `json:"latency"`
	}
	if err := decodeJSON(r, &in); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(in.Latency)
	if err != nil {
		return nil, fmt.Errorf("fakeaws: latency: %w", err)
	}
	f.SetLatency(d)
	return nil, nil
}

func (f *Front) controlFixup(r *http.Request) (any, error) {
	var in struct {
		Name string `json:"name"`
		On   bool   `json:"on"`
	}
	if err := decodeJSON(r, &in); err != nil {
		return nil, err
	}
	return nil, f.EnableFixup(in.Name, in.On)
}

func decodeJSON(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("fakeaws: %s: %w", r.URL.Path, err)
	}
	return nil
}
