package fixups

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

const (
	stateStopped  = "<instanceState><code>80</code><name>stopped</name></instanceState>"
	stateStopping = "<instanceState><code>64</code><name>stopping</name></instanceState>"
)

// stopping shows an instance as stopping for a while after StopInstances, and
// rejects calls that need a stopped one: a start, and a change of its type, for
// which moto accepts any state.
func stopping(d time.Duration) func() fakeaws.Middleware {
	return func() fakeaws.Middleware {
		var mu sync.Mutex
		stoppedAt := map[string]time.Time{}
		isStopping := func(id string) bool {
			mu.Lock()
			defer mu.Unlock()
			return time.Since(stoppedAt[id]) < d
		}
		return func(next fakeaws.Handler) fakeaws.Handler {
			return func(c *fakeaws.Call) (*http.Response, error) {
				switch {
				case c.Is(fakeaws.EC2, "StartInstances") && isStopping(c.Params.Get("InstanceId.1")):
					return notStopped(c.Params.Get("InstanceId.1")).answer(c), nil
				case c.Is(fakeaws.EC2, "ModifyInstanceAttribute") && c.Params.Has("InstanceType.Value"):
					id := c.Params.Get("InstanceId")
					i, err := describeInstance(c, id)
					if err != nil {
						return asRefusal(c, err)
					}
					if i.State.Name != "stopped" || isStopping(id) {
						return notStopped(id).answer(c), nil
					}
				}
				res, err := next(c)
				if !succeeded(res, err) || !c.Is(fakeaws.EC2, "StopInstances", "DescribeInstances") {
					return res, err
				}
				if c.Action == "StopInstances" {
					mu.Lock()
					defer mu.Unlock()
					for _, id := range listParam(c.Params, "InstanceId") {
						stoppedAt[id] = time.Now()
					}
					return res, nil
				}
				body, err := fakeaws.Body(res)
				if err != nil {
					return nil, err
				}
				fakeaws.SetBody(res, []byte(mapItems(string(body), "instancesSet", func(item string) (string, bool) {
					if isStopping(element(item, "instanceId")) {
						item = strings.Replace(item, stateStopped, stateStopping, 1)
					}
					return item, true
				})))
				return res, nil
			}
		}
	}
}

func notStopped(id string) *refusal {
	return refuse("IncorrectInstanceState", "The instance '"+id+"' is not in the 'stopped' state.")
}
