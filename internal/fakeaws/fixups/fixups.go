// Package fixups has middlewares that make moto respond like AWS where the project
// relies on it. Each fixup has a file named after what it corrects, a test, and a
// name by which it can be disabled. Other differences between moto and AWS are left
// alone.
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

// Options are the delays that the fixups simulate. The zero value is for the
// provider's tests, where short delays show that the provider waits.
type Options struct {
	// Running reports whether an instance in moto's state running has booted; until
	// then, it is shown as pending. nil means PendingFor after its start.
	Running    func(instanceID string) bool
	PendingFor time.Duration // 0 means 200 ms
	// ProfileDelay is how long EC2 does not know a new instance profile, and half as
	// long as it does not know the profile's role; 0 means 200 ms. On AWS it is up to
	// two minutes.
	ProfileDelay time.Duration
	// StoppingFor is how long a stopped instance is shown as stopping, and a detached
	// volume's device as in use; 0 means 200 ms.
	StoppingFor time.Duration
	// AddressKeptFor is how long the address of a terminated instance stays in use; 0
	// means 200 ms. On AWS it is up to some minutes.
	AddressKeptFor time.Duration
	// TerminatedFor is how long a terminated instance is listed; 0 means one hour,
	// as on AWS.
	TerminatedFor time.Duration
	// VisibleAfter is how long calls that name a new resource fail with NotFound; 0
	// disables this.
	VisibleAfter time.Duration
}

const shortWait = 200 * time.Millisecond

// All returns all fixups in order: those that check what the client sent are before
// those that rewrite it for moto.
func All(o Options) []fakeaws.Fixup {
	pending := Pending(o.Running)
	if o.Running == nil {
		pending = PendingFor(cmp.Or(o.PendingFor, shortWait))
	}
	return []fakeaws.Fixup{
		{Name: "dry-run", New: dryRun},
		{Name: "unreadable-error", New: unreadableError},
		{Name: "data-lifecycle", New: dataLifecycle},
		{Name: "eventual", New: eventual(o.VisibleAfter)},
		{Name: "client-token", New: clientToken},
		{Name: "instance-profile", New: instanceProfile(cmp.Or(o.ProfileDelay, shortWait))},
		pending,
		{Name: "stopping", New: stopping(cmp.Or(o.StoppingFor, shortWait))},
		{Name: "launch-time", New: launchTime},
		{Name: "terminated", New: terminated(cmp.Or(o.TerminatedFor, time.Hour))},
		{Name: "address-release", New: addressRelease(cmp.Or(o.AddressKeptFor, shortWait))},
		{Name: "elastic-ip", New: elasticIP},
		{Name: "volume", New: volume(cmp.Or(o.StoppingFor, shortWait))},
		{Name: "new-image", New: newImage},
		{Name: "image", New: image},
		{Name: "ebs-default-key", New: ebsDefaultKey},
		{Name: "dependency", New: dependency},
		{Name: "security-group-rules", New: securityGroupRules},
		{Name: "connect-endpoint", New: connectEndpoint(cmp.Or(o.StoppingFor, shortWait))},
		{Name: "endpoint-routes", New: endpointRoutes},
		{Name: "flow-log", New: flowLog},
		{Name: "dns-firewall", New: dnsFirewall},
		{Name: "instance-attribute", New: instanceAttribute},
		{Name: "instance-options", New: instanceOptions},
		{Name: "placement", New: placement},
		{Name: "launch", New: launch},
		{Name: "role-policy", New: rolePolicy},
		{Name: "policy-form", New: policyForm},
		{Name: "bucket-owner", New: bucketOwner},
		{Name: "bucket-defaults", New: bucketDefaults},
		{Name: "secure-transport", New: secureTransport},
		{Name: "conditional-put", New: conditionalPut},
	}
}

// refusal is the error that AWS would return. A call with one is not sent to moto.
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

// check returns a middleware that rejects a call if find returns a refusal.
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

// asRefusal returns moto's error of a call that a fixup made, such as
// InvalidGroup.NotFound.
func asRefusal(c *fakeaws.Call, err error) (*http.Response, error) {
	var api smithy.APIError
	if errors.As(err, &api) {
		return refuse(api.ErrorCode(), api.ErrorMessage()).answer(c), nil
	}
	return nil, err
}

func succeeded(res *http.Response, err error) bool { return err == nil && res.StatusCode < 300 }

func ec2Of(c *fakeaws.Call) *ec2.Client { return ec2.NewFromConfig(c.Moto()) }
