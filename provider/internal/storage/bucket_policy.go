package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// maxPolicyBytes is S3's limit on a bucket policy (S3 user guide, "Bucket
// restrictions and limitations").
const maxPolicyBytes = 20 * 1024

// logDelivery is the service that writes access logs.
const logDelivery = "logging.s3.amazonaws.com"

// flowLogDelivery is the service that writes flow logs of VPCs.
const flowLogDelivery = "delivery.logs.amazonaws.com"

type policyStatement = map[string]any

func everybody() policyStatement { return policyStatement{"AWS": "*"} }

// tlsOnly denies all calls without TLS.
func tlsOnly(arn string) policyStatement {
	return policyStatement{
		"Sid": "TLSOnly", "Effect": "Deny", "Principal": everybody(), "Action": "s3:*", "Resource": []any{arn, arn + "/*"},
		"Condition": policyStatement{"Bool": policyStatement{"aws:SecureTransport": "false"}},
	}
}

// ownAccountsOnly denies all calls of principals of other accounts, even if an access
// control list or the policy of an access point allows them. AWS's services are not
// principals of an account.
func ownAccountsOnly(arn string, accounts []string) policyStatement {
	return policyStatement{
		"Sid": "OwnAccountsOnly", "Effect": "Deny", "Principal": everybody(), "Action": "s3:*", "Resource": []any{arn, arn + "/*"},
		"Condition": policyStatement{
			"StringNotEquals": policyStatement{"aws:PrincipalAccount": anyOf(accounts)},
			"BoolIfExists":    policyStatement{"aws:PrincipalIsAWSService": "false"},
		},
	}
}

// accessLogs allows S3 to write the access logs of the account's buckets (S3 user
// guide, "Permissions for log delivery").
func accessLogs(arn, account string) policyStatement {
	return policyStatement{
		"Sid": "AccessLogs", "Effect": "Allow", "Principal": policyStatement{"Service": logDelivery}, "Action": "s3:PutObject", "Resource": arn + "/*",
		"Condition": policyStatement{"StringEquals": policyStatement{"aws:SourceAccount": account}},
	}
}

// flowLogs allows the delivery of the account's own flow logs of one region. The
// statements are those that AWS would otherwise write in place of the whole policy (VPC
// user guide, "Amazon S3 bucket permissions for flow logs").
func flowLogs(arn, account, region string) []policyStatement {
	partition := strings.Split(arn, ":")[1]
	principal := policyStatement{"Service": flowLogDelivery}
	source := policyStatement{"aws:SourceArn": "arn:" + partition + ":logs:" + region + ":" + account + ":*"}
	return []policyStatement{
		{
			"Sid": "AWSLogDeliveryWrite", "Effect": "Allow", "Principal": principal, "Action": "s3:PutObject", "Resource": arn + "/*",
			"Condition": policyStatement{"StringEquals": policyStatement{"aws:SourceAccount": account, "s3:x-amz-acl": "bucket-owner-full-control"}, "ArnLike": source},
		},
		{
			"Sid": "AWSLogDeliveryAclCheck", "Effect": "Allow", "Principal": principal, "Action": []any{"s3:GetBucketAcl", "s3:ListBucket"}, "Resource": arn,
			"Condition": policyStatement{"StringEquals": policyStatement{"aws:SourceAccount": account}, "ArnLike": source},
		},
	}
}

func anyOf(values []string) []any {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}

// ownStatements returns the provider's statements of a policy that has others too.
// These may allow other accounts, which are then exempt from ownAccountsOnly; it is
// missing if they allow principals whose account is not in the statement.
func (m *bucketModel) ownStatements(arn, account string, others []policyStatement) []policyStatement {
	own := []policyStatement{tlsOnly(arn)}
	if accounts, bounded := base.AllowedAccounts(others); bounded {
		own = append(own, ownAccountsOnly(arn, slices.Compact(slices.Sorted(slices.Values(append(accounts, account))))))
	}
	if m.ReceiveAccessLogs.ValueBool() {
		own = append(own, accessLogs(arn, account))
	}
	if m.ReceiveFlowLogs.ValueBool() {
		own = append(own, flowLogs(arn, account, m.region)...)
	}
	return own
}

// statements returns the configured statements. Those without a resource apply to the
// bucket and its objects.
func (m *bucketModel) statements(arn string) ([]policyStatement, error) {
	if m.Policy.IsNull() || m.Policy.IsUnknown() {
		return nil, nil
	}
	statements, err := base.Statements(m.Policy.ValueString())
	for _, s := range statements {
		if s["Resource"] == nil && s["NotResource"] == nil {
			s["Resource"] = []any{arn, arn + "/*"}
		}
	}
	return statements, base.AtAttribute(path.Root("policy"), err)
}

// wholePolicy returns the bucket's policy: the configured statements and the
// provider's.
func (m *bucketModel) wholePolicy(arn, account string) (string, error) {
	statements, err := m.statements(arn)
	if err != nil {
		return "", err
	}
	return base.PolicyOf(append(slices.Clone(statements), m.ownStatements(arn, account, statements)...)...), nil
}

// setPolicy sets the configured statements from the actual policy, in the form in
// which they are configured if they mean the same. It reports whether the provider's
// statements are all there.
func (m *bucketModel) setPolicy(actual, arn, account string) (complete bool) {
	all, err := base.Statements(actual)
	if err != nil { // no policy
		m.Policy = types.StringNull()
		return false
	}
	if m.ReceiveAccessLogs.IsNull() { // imported, or created by an earlier version
		_, receives := base.WithoutStatements(actual, []policyStatement{accessLogs(arn, account)})
		m.ReceiveAccessLogs = types.BoolValue(receives)
	}
	if m.ReceiveFlowLogs.IsNull() {
		_, receives := base.WithoutStatements(actual, flowLogs(arn, account, m.region))
		m.ReceiveFlowLogs = types.BoolValue(receives)
	}
	others := slices.DeleteFunc(all, func(s policyStatement) bool {
		return s["Effect"] != "Allow" || m.ReceiveAccessLogs.ValueBool() && base.SamePolicy(base.PolicyOf(s), base.PolicyOf(accessLogs(arn, account)))
	})
	rest, complete := base.WithoutStatements(actual, m.ownStatements(arn, account, others))
	configured, err := m.statements(arn)
	switch {
	case rest == "":
		m.Policy = types.StringNull()
	case err != nil || len(configured) == 0 || !base.SamePolicy(base.PolicyOf(configured...), rest):
		m.Policy = types.StringValue(rest)
	}
	return complete
}

// checkPolicy returns an error for each configured statement that S3 would refuse or
// that would open the bucket to the public.
func (m *bucketModel) checkPolicy() []error {
	statements, err := m.statements("bucket") // the ARN does not matter here
	if err != nil {
		return []error{err}
	}
	var errs []error
	for i, s := range statements {
		switch {
		case s["Effect"] != "Allow" && s["Effect"] != "Deny":
			err = errors.New("its Effect is neither Allow nor Deny")
		case s["Principal"] == nil && s["NotPrincipal"] == nil:
			err = errors.New("it has no Principal, which a bucket policy needs")
		case base.IsPublic(s):
			err = errors.New("it would open the bucket to the public, which xeroops_bucket never allows; name the accounts, roles or services as Principal, " +
				"or add a condition with fixed values, such as StringEquals of aws:PrincipalOrgID or aws:SourceVpce")
		default:
			continue
		}
		errs = append(errs, base.AtAttribute(path.Root("policy"), fmt.Errorf("statement %d of policy: %w", i+1, err)))
	}
	return errs
}

// checkWholePolicy returns an error if a statement is about another bucket or the
// policy is too long.
func (m *bucketModel) checkWholePolicy(arn, account string) error {
	statements, err := m.statements(arn)
	if err != nil || len(statements) == 0 {
		return err
	}
	for i, s := range statements {
		for _, key := range []string{"Resource", "NotResource"} {
			for _, resource := range base.Values(s[key]) {
				if resource != arn && !strings.HasPrefix(resource, arn+"/") && resource != "*" {
					return base.AtAttribute(path.Root("policy"), fmt.Errorf("statement %d of policy: its %s %s is not in the bucket; use %s, %[4]s/*, or no Resource, which means both",
						i+1, key, resource, arn))
				}
			}
		}
	}
	whole, err := m.wholePolicy(arn, account)
	if err == nil && len(whole) > maxPolicyBytes {
		err = base.AtAttribute(path.Root("policy"), fmt.Errorf("the policy has %d bytes with the provider's statements, and S3 accepts %d; use fewer or shorter statements", len(whole), maxPolicyBytes))
	}
	return err
}
