package fakeaws

import (
	"slices"
	"sync"
	"time"
)

// Record is a call in the log.
type Record struct {
	Seq      int       `json:"seq"`
	Mutation int       `json:"mutation,omitempty"` // number among the mutating calls; 0 if it only reads
	Service  string    `json:"service"`
	Action   string    `json:"action"`
	Region   string    `json:"region,omitempty"`
	Resource string    `json:"resource,omitempty"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`              // zero while the call is in progress
	Status   int       `json:"status,omitempty"` // 0: no response
	Fault    string    `json:"fault,omitempty"`
}

// maxRecords limits the log of a lab that runs for days to about 30 MB.
const maxRecords = 100_000

type callLog struct {
	mu        sync.Mutex
	records   []*Record
	calls     int
	mutations int
}

// begin numbers the call and adds it to the log.
func (l *callLog) begin(c *Call, mutating bool) *Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	c.Seq = l.calls
	if mutating {
		l.mutations++
		c.Mutation = l.mutations
	}
	r := &Record{
		Seq: c.Seq, Mutation: c.Mutation, Service: c.Service, Action: c.Action,
		Region: c.Region, Resource: c.Resource, Start: time.Now(),
	}
	l.records = append(l.records, r)
	if n := len(l.records); n > maxRecords {
		l.records = slices.Clone(l.records[n/10:])
	}
	return r
}

func (l *callLog) end(r *Record, status int, fault string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.End, r.Status, r.Fault = time.Now(), status, fault
}

func (l *callLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records, l.calls, l.mutations = nil, 0, 0
}

// Calls returns the log in the order of arrival.
func (f *Front) Calls() []Record {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	records := make([]Record, len(f.log.records))
	for i, r := range f.log.records {
		records[i] = *r
	}
	return records
}

// ClearCalls clears the log and restarts counting at 1, also for faults.
func (f *Front) ClearCalls() { f.log.clear() }
