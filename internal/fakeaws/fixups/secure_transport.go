package fixups

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// disabled is put before the resources of a policy statement so that moto matches
// nothing with it, and is removed when the policy is read.
const disabled = "xeroops-front:"

// secureTransport keeps moto from enforcing statements that deny calls without TLS or
// calls of other accounts: moto ignores conditions and would reject every call. Clients
// on loopback do not use TLS; the lab's listener for machines enforces both.
func secureTransport() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if c.Is(fakeaws.S3, "PutBucketPolicy") {
				body, err := c.ReadBody()
				if err != nil {
					return nil, err
				}
				c.SetBody(disableConditional(body))
			}
			res, err := next(c)
			if !c.Is(fakeaws.S3, "GetBucketPolicy") || !succeeded(res, err) {
				return res, err
			}
			body, err := fakeaws.Body(res)
			if err != nil {
				return nil, err
			}
			fakeaws.SetBody(res, bytes.ReplaceAll(body, []byte(`"`+disabled), []byte(`"`)))
			return res, nil
		}
	}
}

// disableConditional returns the policy with these statements disabled, or its
// argument if that is not a policy.
func disableConditional(policy []byte) []byte {
	var document map[string]any
	if json.Unmarshal(policy, &document) != nil {
		return policy
	}
	statements, ok := document["Statement"].([]any)
	if !ok {
		statements = []any{document["Statement"]}
	}
	for _, s := range statements {
		statement, ok := s.(map[string]any)
		if !ok || statement["Effect"] != "Deny" || !onTransportOrAccount(statement["Condition"]) {
			continue
		}
		statement["Resource"] = disable(statement["Resource"])
	}
	changed, err := json.Marshal(document)
	if err != nil {
		return policy
	}
	return changed
}

func onTransportOrAccount(condition any) bool {
	operators, _ := condition.(map[string]any)
	for _, keys := range operators {
		if keys, _ := keys.(map[string]any); keys["aws:SecureTransport"] != nil || keys["aws:PrincipalAccount"] != nil {
			return true
		}
	}
	return false
}

func disable(resource any) any {
	switch r := resource.(type) {
	case string:
		return disabled + r
	case []any:
		for i := range r {
			r[i] = disable(r[i])
		}
	}
	return resource
}
