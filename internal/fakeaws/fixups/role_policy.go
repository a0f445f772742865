package fixups

import (
	"fmt"
	"net/http"
	"net/url"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// maxRolePolicies is the maximum length of all inline policies of a role, not
// counting white space (IAM user guide, "IAM and AWS STS quotas").
const maxRolePolicies = 10240

// rolePolicy refuses an inline policy with which a role would exceed IAM's limit.
func rolePolicy() fakeaws.Middleware {
	return check(func(c *fakeaws.Call) (*refusal, error) {
		if !c.Is(fakeaws.IAM, "PutRolePolicy") {
			return nil, nil
		}
		role := c.Params.Get("RoleName")
		total, err := lengthOfOthers(c, role, c.Params.Get("PolicyName"))
		if err != nil {
			return nil, err
		}
		if total+policyLength(c.Params.Get("PolicyDocument")) > maxRolePolicies {
			return &refusal{http.StatusConflict, "LimitExceeded", fmt.Sprintf("Maximum policy size of %d bytes exceeded for role %s", maxRolePolicies, role)}, nil
		}
		return nil, nil
	})
}

// lengthOfOthers returns the length of a role's inline policies except one.
func lengthOfOthers(c *fakeaws.Call, role, except string) (int, error) {
	client, total := iam.NewFromConfig(c.Moto()), 0
	names, err := client.ListRolePolicies(c.Context(), &iam.ListRolePoliciesInput{RoleName: &role})
	if err != nil {
		return 0, err
	}
	for _, name := range names.PolicyNames {
		if name == except {
			continue
		}
		policy, err := client.GetRolePolicy(c.Context(), &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
		if err != nil {
			return 0, err
		}
		document, err := url.PathUnescape(*policy.PolicyDocument)
		if err != nil {
			return 0, err
		}
		total += policyLength(document)
	}
	return total, nil
}

func policyLength(document string) int {
	length := utf8.RuneCountInString(document)
	for _, r := range document {
		if unicode.IsSpace(r) {
			length--
		}
	}
	return length
}
