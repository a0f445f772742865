package fixups

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// securityGroupRules makes AuthorizeSecurityGroup* return the rules of all
// permissions. moto returns those of the last one, so it gets one permission per
// call.
func securityGroupRules() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if !c.Is(fakeaws.EC2, "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress") ||
				!c.Params.Has("IpPermissions.2.IpProtocol") {
				return next(c)
			}
			return authorizeEach(c, next)
		}
	}
}

func authorizeEach(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	var rules strings.Builder
	var last string
	for n := 1; c.Params.Has(fmt.Sprintf("IpPermissions.%d.IpProtocol", n)); n++ {
		res, err := next(c.With(onePermission(c.Params, n)))
		if !succeeded(res, err) {
			if err == nil {
				err = revokeFirst(c, next, n-1) // AWS adds all permissions or none
			}
			return res, err
		}
		body, err := fakeaws.Body(res)
		if err != nil {
			return nil, err
		}
		last = string(body)
		rules.WriteString(element(last, "securityGroupRuleSet"))
	}
	before, _, _ := strings.Cut(last, "<securityGroupRuleSet>")
	_, after, _ := strings.Cut(last, "</securityGroupRuleSet>")
	return c.Answer(http.StatusOK, before+"<securityGroupRuleSet>"+rules.String()+"</securityGroupRuleSet>"+after), nil
}

// onePermission returns the form with only its n-th permission.
func onePermission(p url.Values, n int) url.Values {
	one := copyParams(p, "IpPermissions.")
	prefix := fmt.Sprintf("IpPermissions.%d.", n)
	for key, values := range p {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			one["IpPermissions.1."+rest] = values
		}
	}
	return one
}

func revokeFirst(c *fakeaws.Call, next fakeaws.Handler, permissions int) error {
	for n := 1; n <= permissions; n++ {
		params := copyParams(onePermission(c.Params, n), "TagSpecification.")
		params.Set("Action", strings.Replace(c.Action, "Authorize", "Revoke", 1))
		res, err := next(c.With(params))
		if err != nil {
			return err
		}
		_ = res.Body.Close()
	}
	return nil
}
