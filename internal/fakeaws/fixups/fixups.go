// Package fixups holds the middlewares that make moto answer as AWS does where
// the project relies on it. Each fixup is one file, named after what it corrects,
// with a test, and can be switched off by its name. Answers of
// moto that differ from AWS and that nothing relies on are left as they are.
package fixups

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// Options say how long moto's machines pretend to take; the zero value serves
// the provider's tests, where a short wait shows that the provider waits.
type Options struct {
	// Running says whether an instance that moto calls running is up; until
	// then the front says pending. Nil means PendingFor after its start.
	Running    func(instanceID string) bool
	PendingFor time.Duration // 0 means 200 ms
	// ProfileDelay is how long a new instance profile is unknown to EC2;
	// 0 means 200 ms, on AWS it is up to two minutes.
	ProfileDelay time.Duration
	// TerminatedFor is how long a terminated instance is listed; 0 means one
	// hour, as on AWS.
	TerminatedFor time.Duration
	// VisibleAfter is how long a new thing is unknown to calls that name it;
	// 0 means not at all.
	VisibleAfter time.Duration
}

const shortWait = 200 * time.Millisecond

// All returns every fixup in an order that works: those that look at what the
// client sent come before those that rewrite it for moto.
func All(o Options) []fakeaws.Fixup {
	pending := Pending(o.Running)
	if o.Running == nil {
		pending = PendingFor(cmp.Or(o.PendingFor, shortWait))
	}
	return []fakeaws.Fixup{
		{Name: "dry-run", New: dryRun},
		{Name: "unreadable-error", New: unreadableError},
		{Name: "eventual", New: eventual(o.VisibleAfter)},
		{Name: "client-token", New: clientToken},
		{Name: "instance-profile", New: instanceProfile(cmp.Or(o.ProfileDelay, shortWait))},
		pending,
		{Name: "terminated", New: terminated(cmp.Or(o.TerminatedFor, time.Hour))},
		{Name: "elastic-ip", New: elasticIP},
		{Name: "volume", New: volume},
		{Name: "new-image", New: newImage},
		{Name: "image", New: image},
		{Name: "dependency", New: dependency},
		{Name: "security-group-rules", New: securityGroupRules},
		{Name: "endpoint-routes", New: endpointRoutes},
		{Name: "instance-attribute", New: instanceAttribute},
		{Name: "launch", New: launch},
		{Name: "bucket-defaults", New: bucketDefaults},
		{Name: "secure-transport", New: secureTransport},
	}
}

// refuse is what AWS would have answered; finding it keeps a call from moto.
type refusal struct {
	status        int
	code, message string
}

func refuse(code, message string) *refusal {
	return &refusal{http.StatusBadRequest, code, message}
}

func (r *refusal) answer(c *fakeaws.Call) *http.Response {
	return c.Error(r.status, r.code, r.message)
}

// check makes a middleware of a function that finds what AWS would refuse.
func check(find func(*fakeaws.Call) (*refusal, error)) fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			refused, err := find(c)
			if err != nil {
				return asRefusal(c, err)
			}
			if refused != nil {
				return refused.answer(c), nil
			}
			return next(c)
		}
	}
}

// asRefusal passes on an error that moto itself answered to a fixup's question,
// such as InvalidGroup.NotFound.
func asRefusal(c *fakeaws.Call, err error) (*http.Response, error) {
	var api smithy.APIError
	if errors.As(err, &api) {
		return refuse(api.ErrorCode(), api.ErrorMessage()).answer(c), nil
	}
	return nil, err
}

func succeeded(res *http.Response, err error) bool { return err == nil && res.StatusCode < 300 }

func ec2Of(c *fakeaws.Call) *ec2.Client { return ec2.NewFromConfig(c.Moto()) }
