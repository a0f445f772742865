package fixups

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

var monitoringElement = regexp.MustCompile(`<monitoring><state>[^<]*</state></monitoring>`)

// instanceOptions has the CPU credits and the detailed monitoring of instances: moto
// ignores the credits at launch, and cannot change either.
func instanceOptions() fakeaws.Middleware {
	o := &optionsOfInstances{credits: map[string]string{}, monitoring: map[string]string{}}
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			switch {
			case c.Is(fakeaws.EC2, "MonitorInstances"):
				return o.monitor(c, "enabled"), nil
			case c.Is(fakeaws.EC2, "UnmonitorInstances"):
				return o.monitor(c, "disabled"), nil
			case c.Is(fakeaws.EC2, "ModifyInstanceCreditSpecification"):
				return o.modifyCredits(c), nil
			case c.Is(fakeaws.EC2, "DescribeInstanceCreditSpecifications"):
				return o.describeCredits(c), nil
			}
			res, err := next(c)
			if !succeeded(res, err) || !c.Is(fakeaws.EC2, "RunInstances", "DescribeInstances") {
				return res, err
			}
			body, err := fakeaws.Body(res)
			if err != nil {
				return nil, err
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			if credits := c.Params.Get("CreditSpecification.CpuCredits"); c.Action == "RunInstances" && credits != "" {
				o.credits[element(string(body), "instanceId")] = credits
			}
			fakeaws.SetBody(res, []byte(mapItems(string(body), "instancesSet", func(item string) (string, bool) {
				if state := o.monitoring[element(item, "instanceId")]; state != "" {
					item = monitoringElement.ReplaceAllString(item, "<monitoring><state>"+state+"</state></monitoring>")
				}
				return item, true
			})))
			return res, nil
		}
	}
}

// optionsOfInstances holds what was set, by instance id.
type optionsOfInstances struct {
	mu                  sync.Mutex
	credits, monitoring map[string]string
}

func (o *optionsOfInstances) monitor(c *fakeaws.Call, state string) *http.Response {
	o.mu.Lock()
	defer o.mu.Unlock()
	var items strings.Builder
	for _, id := range listParam(c.Params, "InstanceId") {
		o.monitoring[id] = state
		fmt.Fprintf(&items, "<item><instanceId>%s</instanceId><monitoring><state>%s</state></monitoring></item>", id, state)
	}
	return c.Answer(http.StatusOK, "<"+c.Action+"Response><instancesSet>"+items.String()+"</instancesSet></"+c.Action+"Response>")
}

func (o *optionsOfInstances) modifyCredits(c *fakeaws.Call) *http.Response {
	const first = "InstanceCreditSpecification.1."
	o.mu.Lock()
	defer o.mu.Unlock()
	id := c.Params.Get(first + "InstanceId")
	o.credits[id] = c.Params.Get(first + "CpuCredits")
	return c.Answer(http.StatusOK, "<ModifyInstanceCreditSpecificationResponse><successfulInstanceCreditSpecificationSet><item><instanceId>"+id+
		"</instanceId></item></successfulInstanceCreditSpecificationSet></ModifyInstanceCreditSpecificationResponse>")
}

// describeCredits answers with unlimited for an instance without setting, as AWS does
// for T3 and later types.
func (o *optionsOfInstances) describeCredits(c *fakeaws.Call) *http.Response {
	o.mu.Lock()
	defer o.mu.Unlock()
	var items strings.Builder
	for _, id := range listParam(c.Params, "InstanceId") {
		credits := o.credits[id]
		if credits == "" {
			credits = "unlimited"
		}
		fmt.Fprintf(&items, "<item><instanceId>%s</instanceId><cpuCredits>%s</cpuCredits></item>", id, credits)
	}
	return c.Answer(http.StatusOK, "<DescribeInstanceCreditSpecificationsResponse><instanceCreditSpecificationSet>"+items.String()+
		"</instanceCreditSpecificationSet></DescribeInstanceCreditSpecificationsResponse>")
}
