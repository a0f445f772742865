// Package permit makes the stand-in for AWS refuse the calls that a caller's IAM
// policy does not allow, and records which permissions calls need. moto has an
// enforcement of its own, but it ignores resources, conditions and what a call needs
// besides the action of its name.
package permit

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
)

// Need is a permission that a call needed.
type Need struct {
	Call string // service:Operation
	iampolicy.Request
}

// Guard checks calls by the access keys that they are signed with. A key without a
// policy is not restricted.
type Guard struct {
	account string
	mu      sync.Mutex
	byKey   map[string]iampolicy.Document
	needs   map[string][]Need // by key
}

// New returns a guard for an account.
func New(account string) *Guard {
	return &Guard{account: account, byKey: map[string]iampolicy.Document{}, needs: map[string][]Need{}}
}

// Restrict gives the holder of an access key a policy.
func (g *Guard) Restrict(key string, policy iampolicy.Document) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.byKey[key] = policy
}

// Needs returns what the calls of a restricted key needed, each once.
func (g *Guard) Needs(key string) []Need {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.needs[key])
}

// Fixup returns the fixup that enforces the policies. It has to be the first one: a
// dry run is checked as well.
func (g *Guard) Fixup() fakeaws.Fixup {
	return fakeaws.Fixup{Name: "permit", New: func() fakeaws.Middleware {
		return func(next fakeaws.Handler) fakeaws.Handler {
			return func(c *fakeaws.Call) (*http.Response, error) { return g.handle(c, next) }
		}
	}}
}

func (g *Guard) handle(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	key := c.AccessKey()
	g.mu.Lock()
	policy, restricted := g.byKey[key]
	g.mu.Unlock()
	if !restricted {
		return next(c)
	}
	needs, err := g.requests(c, next)
	if err != nil {
		return nil, err
	}
	for _, need := range needs {
		g.record(key, c, need)
		if iampolicy.Evaluate(need, policy) != iampolicy.Allow {
			return denied(c, need), nil
		}
	}
	res, err := next(c)
	if err != nil || c.Service != fakeaws.S3 || c.Key == "" || res.StatusCode != http.StatusNotFound {
		return res, err
	}
	// S3 hides from a caller who may not list the bucket that a key does not exist. Whether
	// a condition on s3:prefix is enough is not documented: it is not here.
	list := iampolicy.Request{Action: "s3:ListBucket", Resource: "arn:aws:s3:::" + c.Bucket, Context: map[string][]string{}}
	if iampolicy.Evaluate(list, policy) != iampolicy.Allow {
		_ = res.Body.Close()
		return denied(c, list), nil
	}
	return res, nil
}

func (g *Guard) record(key string, c *fakeaws.Call, need iampolicy.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := Need{Call: c.Service + ":" + c.Action, Request: need}
	if !slices.ContainsFunc(g.needs[key], func(o Need) bool { return fmt.Sprint(o) == fmt.Sprint(n) }) {
		g.needs[key] = append(g.needs[key], n)
	}
}

func denied(c *fakeaws.Call, need iampolicy.Request) *http.Response {
	code := "AccessDenied"
	if c.Service == fakeaws.EC2 {
		code = "UnauthorizedOperation"
	}
	return c.Error(http.StatusForbidden, code, fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s", c.AccessKey(), need.Action, need.Resource))
}

// requests returns what a call needs (Service Authorization Reference).
func (g *Guard) requests(c *fakeaws.Call, next fakeaws.Handler) ([]iampolicy.Request, error) {
	var all []iampolicy.Request
	var err error
	switch c.Service {
	case fakeaws.S3:
		all, err = iampolicy.S3Requests(c.Request, c.Bucket, c.Key)
	case fakeaws.EC2:
		all, err = g.ec2Requests(c, next)
	case fakeaws.IAM:
		all, err = g.iamRequests(c)
	case fakeaws.STS:
		if c.Action == "GetCallerIdentity" {
			return nil, nil
		}
		fallthrough
	default:
		all = []iampolicy.Request{{Action: c.Service + ":" + c.Action, Resource: "*"}}
	}
	for i := range all {
		if all[i].Context == nil {
			all[i].Context = map[string][]string{}
		}
		all[i].Context["aws:requestedregion"] = []string{c.Region}
	}
	return all, err
}

// values returns the parameters name, name.1, name.2 and so on.
func values(c *fakeaws.Call, name string) []string {
	if v := c.Params.Get(name); v != "" {
		return []string{v}
	}
	var all []string
	for n := 1; ; n++ {
		v := c.Params.Get(fmt.Sprintf("%s.%d", name, n))
		if v == "" {
			return all
		}
		all = append(all, v)
	}
}

func lower(key string) string { return strings.ToLower(key) }

// afterSlash returns the name in an ARN or path.
func afterSlash(path string) string { return path[strings.LastIndex(path, "/")+1:] }
