package fixups

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// policyForm returns bucket policies and trust policies in AWS's own form, which is
// not the one they were given in: a list of one becomes a string, and the order of
// other lists changes. IAM returns inline policies as they were given.
func policyForm() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			res, err := next(c)
			if !succeeded(res, err) {
				return res, err
			}
			var reform func(string) string
			switch {
			case c.Is(fakeaws.S3, "GetBucketPolicy"):
				reform = reformPolicy
			case c.Is(fakeaws.IAM, "GetRole", "ListRoles"):
				reform = reformTrustPolicies
			default:
				return res, nil
			}
			body, err := fakeaws.Body(res)
			if err != nil {
				return nil, err
			}
			fakeaws.SetBody(res, []byte(reform(string(body))))
			return res, nil
		}
	}
}

var trustPolicy = regexp.MustCompile(`(<AssumeRolePolicyDocument>)([^<]*)(</AssumeRolePolicyDocument>)`)

// reformTrustPolicies reforms the trust policies in a response of IAM, where they
// are URL-encoded.
func reformTrustPolicies(xml string) string {
	return trustPolicy.ReplaceAllStringFunc(xml, func(element string) string {
		part := trustPolicy.FindStringSubmatch(element)
		document, err := url.PathUnescape(part[2])
		if err != nil {
			return element
		}
		return part[1] + url.PathEscape(reformPolicy(document)) + part[3]
	})
}

// reformPolicy returns a policy document in AWS's form, or its argument if that is
// not JSON.
func reformPolicy(policy string) string {
	var document map[string]any
	if json.Unmarshal([]byte(policy), &document) != nil {
		return policy
	}
	statements, _ := document["Statement"].([]any)
	for _, s := range statements {
		if statement, ok := s.(map[string]any); ok {
			reformLists(statement)
		}
	}
	reformed, err := json.Marshal(document)
	if err != nil {
		return policy
	}
	return string(reformed)
}

// reformLists reverses the lists in an object, and in the objects in it, and
// replaces those of one by their element.
func reformLists(object map[string]any) {
	for key, value := range object {
		switch v := value.(type) {
		case map[string]any:
			reformLists(v)
		case []any:
			if len(v) == 1 {
				object[key] = v[0]
			}
			slices.Reverse(v)
		}
	}
}
