package fixups

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// instanceProfile delays the visibility of a new profile in EC2 and returns AWS's
// error for an unknown one: clients must retry on InvalidParameterValue with this
// text
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html#troubleshoot_general_eventual-consistency).
func instanceProfile(delay time.Duration) func() fakeaws.Middleware {
	return func() fakeaws.Middleware {
		var mu sync.Mutex
		made := map[string]time.Time{}
		return func(next fakeaws.Handler) fakeaws.Handler {
			return func(c *fakeaws.Call) (*http.Response, error) {
				switch {
				case c.Is(fakeaws.IAM, "CreateInstanceProfile"):
					res, err := next(c)
					if succeeded(res, err) {
						mu.Lock()
						made[c.Params.Get("InstanceProfileName")] = time.Now()
						mu.Unlock()
					}
					return res, err
				case !c.Is(fakeaws.EC2, "RunInstances"):
					return next(c)
				}
				name := profileName(c)
				mu.Lock()
				young := time.Since(made[name]) < delay
				mu.Unlock()
				if young {
					return unknownProfile(name).answer(c), nil
				}
				res, err := next(c)
				if err == nil && res.StatusCode == http.StatusNotFound && name != "" {
					_ = res.Body.Close() // moto's NoSuchEntity
					return unknownProfile(name).answer(c), nil
				}
				return res, err
			}
		}
	}
}

func profileName(c *fakeaws.Call) string {
	if name := c.Params.Get("IamInstanceProfile.Name"); name != "" {
		return name
	}
	arn := c.Params.Get("IamInstanceProfile.Arn")
	return arn[strings.LastIndexByte(arn, '/')+1:]
}

func unknownProfile(name string) *refusal {
	return refuse("InvalidParameterValue",
		"Value ("+name+") for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name")
}
