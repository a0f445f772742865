package network

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// logDelivery is the service principal that writes flow logs, in every partition.
const logDelivery = "delivery.logs.amazonaws.com"

// checkDelivery returns an error if the policy of the bucket does not let AWS write
// the flow log. AWS would then write a policy of its own, which overwrites the
// bucket's (VPC user guide, "Amazon S3 bucket permissions for flow logs") and so
// removes, for example, the denial of calls without TLS. A policy that the caller
// may not read, such as that of a bucket in another account, is left to AWS to
// check.
func (r *flowLogResource) checkDelivery(ctx context.Context, m flowLogModel) error {
	bucket := m.Bucket.ValueString()
	account, err := r.Client.AccountID(ctx)
	if err != nil {
		return err
	}
	partition, err := r.Client.Partition(ctx)
	if err != nil {
		return err
	}
	out, err := r.Client.S3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket})
	policy := ""
	switch {
	case awswait.HasCode(err, "NoSuchBucketPolicy"):
	case awswait.HasCode(err, "NoSuchBucket"):
		return base.AtAttribute(path.Root("bucket"), fmt.Errorf("there is no bucket %s; create it before, or correct the name", bucket))
	case awswait.HasCode(err, "AccessDenied", "PermanentRedirect", "MethodNotAllowed"):
		return nil
	case err != nil:
		return fmt.Errorf("read the policy of bucket %s: %w", bucket, err)
	default:
		policy = aws.ToString(out.Policy)
	}
	object := strings.TrimSuffix(m.destination(partition), "/") + "/AWSLogs/" + account + "/vpcflowlogs/" + r.Client.Region + "/"
	if !allowsDelivery(policy, "s3:PutObject", object) || !allowsDelivery(policy, "s3:GetBucketAcl", "arn:"+partition+":s3:::"+bucket) {
		return base.AtAttribute(path.Root("bucket"), fmt.Errorf("the policy of bucket %s does not let %s read the bucket's ACL and write %s*; set receive_flow_logs if it is an xeroops_bucket, or add the statements that AWS documents for flow logs to the policy. "+
			"AWS would otherwise replace the whole policy by its own", bucket, logDelivery, object))
	}
	return nil
}

// allowsDelivery reports whether a statement of a bucket policy allows the delivery of
// logs an action on a resource. It does not evaluate conditions and denials.
func allowsDelivery(policy, action, resource string) bool {
	var document struct{ Statement list[statement] }
	if json.Unmarshal([]byte(policy), &document) != nil {
		return false
	}
	return slices.ContainsFunc(document.Statement, func(s statement) bool {
		var principal struct{ Service list[string] }
		return s.Effect == "Allow" && json.Unmarshal(s.Principal, &principal) == nil && slices.Contains(principal.Service, logDelivery) &&
			slices.ContainsFunc(s.Action, func(a string) bool { return matchesPattern(strings.ToLower(a), strings.ToLower(action)) }) &&
			slices.ContainsFunc(s.Resource, func(r string) bool { return matchesPattern(r, resource) })
	})
}

type statement struct {
	Effect           string
	Principal        json.RawMessage // an object, or "*"
	Action, Resource list[string]
}

// list is a list in a policy, in which one element may stand for itself.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(text []byte) error {
	var one T
	if json.Unmarshal(text, &one) == nil {
		*l = list[T]{one}
		return nil
	}
	return json.Unmarshal(text, (*[]T)(l))
}

// matchesPattern reports whether a text matches a pattern of a policy, in which *
// is any text and ? any character.
func matchesPattern(pattern, text string) bool {
	expression := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	matched, err := regexp.MatchString("^"+expression+"$", text)
	return err == nil && matched
}
