package storage

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
)

// The policy is evaluated as in the lab, which does it like S3.
func TestWhoTheBucketPolicyDenies(t *testing.T) {
	m := bucketModel{Policy: types.StringValue(allowOther), ReceiveAccessLogs: types.BoolValue(true)}
	text, err := m.wholePolicy(testARN, testAccount)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := iampolicy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	of := func(account, tls string) map[string][]string {
		return map[string][]string{"aws:securetransport": {tls}, "aws:principalaccount": {account}, "aws:principalisawsservice": {"false"}}
	}
	service := func(source string) map[string][]string {
		return map[string][]string{"aws:securetransport": {"true"}, "aws:principalisawsservice": {"true"}, "aws:sourceaccount": {source}}
	}
	for name, tc := range map[string]struct {
		principal, action string
		context           map[string][]string
		want              iampolicy.Decision
	}{
		"own account":             {"arn:aws:iam::123456789012:role/app", "s3:GetObject", of(testAccount, "true"), iampolicy.ImplicitDeny}, // its role decides
		"own account without TLS": {"arn:aws:iam::123456789012:role/app", "s3:GetObject", of(testAccount, "false"), iampolicy.ExplicitDeny},
		"allowed account":         {"arn:aws:iam::111122223333:role/reader", "s3:GetObject", of("111122223333", "true"), iampolicy.Allow},
		"other account":           {"arn:aws:iam::444455556666:role/x", "s3:GetObject", of("444455556666", "true"), iampolicy.ExplicitDeny},
		"anonymous":               {"", "s3:GetObject", map[string][]string{"aws:securetransport": {"true"}}, iampolicy.ExplicitDeny},
		"access log":              {logDelivery, "s3:PutObject", service(testAccount), iampolicy.Allow},
		"access log of another":   {logDelivery, "s3:PutObject", service("444455556666"), iampolicy.ImplicitDeny},
		"another service":         {"delivery.logs.amazonaws.com", "s3:PutObject", service(testAccount), iampolicy.ImplicitDeny},
	} {
		got := iampolicy.Evaluate(iampolicy.Request{Action: tc.action, Resource: testARN + "/key", Principal: tc.principal, Context: tc.context}, policy)
		if got != tc.want {
			t.Errorf("%s: decision %d, want %d", name, got, tc.want)
		}
	}
}
