package fixups

import (
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

var launchTimeElement = regexp.MustCompile(`<launchTime>[^<]*</launchTime>`)

// launchTime renews an instance's launch time when it is started after a stop, as EC2
// does; moto keeps that of RunInstances.
func launchTime() fakeaws.Middleware {
	var mu sync.Mutex
	startedAt := map[string]time.Time{}
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if !c.Is(fakeaws.EC2, "StartInstances", "DescribeInstances") {
				return next(c)
			}
			var stopped []string
			for _, id := range listParam(c.Params, "InstanceId") {
				if c.Action != "StartInstances" {
					break
				}
				if i, err := describeInstance(c, id); err == nil && i.State.Name == "stopped" {
					stopped = append(stopped, id)
				}
			}
			res, err := next(c)
			if !succeeded(res, err) {
				return res, err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range stopped {
				startedAt[id] = time.Now().UTC()
			}
			if c.Action == "StartInstances" || len(startedAt) == 0 {
				return res, nil
			}
			body, err := fakeaws.Body(res)
			if err != nil {
				return nil, err
			}
			fakeaws.SetBody(res, []byte(mapItems(string(body), "instancesSet", func(item string) (string, bool) {
				if at, started := startedAt[element(item, "instanceId")]; started {
					item = launchTimeElement.ReplaceAllString(item, "<launchTime>"+at.Format("2006-01-02T15:04:05.000Z")+"</launchTime>")
				}
				return item, true
			})))
			return res, nil
		}
	}
}
