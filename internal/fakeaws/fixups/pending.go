package fixups

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// Pending shows an instance that is running in moto as pending until running
// reports true, and rejects calls that AWS rejects for a pending instance.
func Pending(running func(instanceID string) bool) fakeaws.Fixup {
	return fakeaws.Fixup{Name: "pending", New: func() fakeaws.Middleware {
		return func(next fakeaws.Handler) fakeaws.Handler {
			return func(c *fakeaws.Call) (*http.Response, error) { return pendingUntil(running, c, next) }
		}
	}}
}

// PendingFor shows each instance as pending for a while after its start.
func PendingFor(d time.Duration) fakeaws.Fixup {
	return fakeaws.Fixup{Name: "pending", New: func() fakeaws.Middleware {
		var mu sync.Mutex
		started := map[string]time.Time{}
		running := func(id string) bool {
			mu.Lock()
			defer mu.Unlock()
			return time.Since(started[id]) >= d
		}
		return func(next fakeaws.Handler) fakeaws.Handler {
			return func(c *fakeaws.Call) (*http.Response, error) {
				res, err := pendingUntil(running, c, next)
				if !c.Is(fakeaws.EC2, "RunInstances", "StartInstances") || !succeeded(res, err) {
					return res, err
				}
				body, err := fakeaws.Body(res)
				mu.Lock()
				defer mu.Unlock()
				for _, m := range instanceIDElement.FindAllStringSubmatch(string(body), -1) {
					started[m[1]] = time.Now()
				}
				return res, err
			}
		}
	}}
}

var instanceIDElement = regexp.MustCompile(`<instanceId>(i-[0-9a-f]+)</instanceId>`)

const (
	stateRunning = "<instanceState><code>16</code><name>running</name></instanceState>"
	statePending = "<instanceState><code>0</code><name>pending</name></instanceState>"
)

func pendingUntil(running func(string) bool, c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	if id := c.Params.Get("InstanceId"); id != "" && c.Is(fakeaws.EC2, "AssociateAddress", "AttachVolume") && !running(id) {
		if c.Action == "AttachVolume" {
			return refuse("IncorrectState", "Instance '"+id+"' is not 'running'.").answer(c), nil
		}
		return refuse("InvalidInstanceID", "The pending instance '"+id+"' is not in a valid state for this operation.").answer(c), nil
	}
	res, err := next(c)
	if !c.Is(fakeaws.EC2, "DescribeInstances") || !succeeded(res, err) {
		return res, err
	}
	body, err := fakeaws.Body(res)
	if err != nil {
		return nil, err
	}
	text := mapItems(string(body), "instancesSet", func(item string) (string, bool) {
		if m := instanceIDElement.FindStringSubmatch(item); m != nil && strings.Contains(item, stateRunning) && !running(m[1]) {
			return strings.Replace(item, stateRunning, statePending, 1), wantsState(c, "pending")
		}
		return item, true
	})
	fakeaws.SetBody(res, []byte(withoutEmptyReservations(text)))
	return res, nil
}

// wantsState reports whether the call's filter on the state, if any, includes a
// state. moto has filtered by its own state.
func wantsState(c *fakeaws.Call, state string) bool {
	for i := 1; ; i++ {
		prefix := indexed("Filter", i)
		name := c.Params.Get(prefix + ".Name")
		if name == "" {
			return true
		}
		if name != "instance-state-name" {
			continue
		}
		for _, value := range listParam(c.Params, prefix+".Value") {
			if value == state {
				return true
			}
		}
		return false
	}
}

func withoutEmptyReservations(xml string) string {
	return mapItems(xml, "reservationSet", func(item string) (string, bool) {
		return item, !strings.Contains(item, "<instancesSet></instancesSet>")
	})
}
