package fixups

import (
	"net/http"
	"strings"
	"sync"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// clientToken makes a repeated EC2 call with the same ClientToken return the
// resource of the first call, and rejects the token with other parameters
// (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html).
func clientToken() fakeaws.Middleware {
	var mu sync.Mutex
	made := map[string]*tokenUse{}
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			token := c.Params.Get("ClientToken")
			if token == "" || c.Service != fakeaws.EC2 {
				return next(c)
			}
			mu.Lock()
			key := c.Region + " " + c.Action + " " + token
			if made[key] == nil {
				made[key] = &tokenUse{}
			}
			use := made[key]
			mu.Unlock()
			return use.do(c, next)
		}
	}
}

// tokenUse is the call for which a token was used.
type tokenUse struct {
	mu     sync.Mutex // held during the call, so that a concurrent one waits
	params string
	answer []byte // response; nil until a call succeeds
}

func (u *tokenUse) do(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	params := c.Params.Encode()
	if u.answer != nil {
		if u.params != params {
			return refuse("IdempotentParameterMismatch",
				"Arguments on this idempotent request are inconsistent with arguments used in previous request(s).").answer(c), nil
		}
		return u.repeat(c, next)
	}
	res, err := next(c)
	if !succeeded(res, err) {
		return res, err
	}
	body, err := fakeaws.Body(res)
	if err != nil {
		return nil, err
	}
	u.params, u.answer = params, body
	return res, nil
}

// repeat returns the first response again. For instances it returns their current
// state, so that the client learns if they were terminated.
func (u *tokenUse) repeat(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	answer := string(u.answer)
	if c.Action == "RunInstances" {
		var err error
		if answer, err = describeAgain(c, next, answer); err != nil {
			return nil, err
		}
	}
	return c.Answer(http.StatusOK, answer), nil
}

func describeAgain(c *fakeaws.Call, next fakeaws.Handler, answer string) (string, error) {
	params := copyParams(nil)
	params.Set("Action", "DescribeInstances")
	params.Set("Version", c.Params.Get("Version"))
	params.Set("InstanceId.1", element(answer, "instanceId"))
	res, err := next(c.With(params)) //nolint:bodyclose // fakeaws.Body reads and closes it
	if !succeeded(res, err) {
		return answer, err
	}
	now, err := fakeaws.Body(res)
	if err != nil {
		return "", err
	}
	before, _, _ := strings.Cut(answer, "<instancesSet>")
	_, after, _ := strings.Cut(answer, "</instancesSet>")
	return before + "<instancesSet>" + element(string(now), "instancesSet") + "</instancesSet>" + after, nil
}
