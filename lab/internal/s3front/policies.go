package s3front

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
)

// policyLife is how long a policy is cached. In AWS, changes take seconds to propagate.
const policyLife = time.Second

// AccountPolicies implements [Policies] with the account's IAM and S3 APIs.
type AccountPolicies struct {
	IAM *iam.Client
	S3  *s3.Client
	// EndpointPolicy returns the policy document of the S3 endpoint that an instance's
	// subnet uses, or an empty string if there is none.
	EndpointPolicy func(instanceID string) string

	mu    sync.Mutex
	known map[string]reading
}

type reading struct {
	documents []iampolicy.Document
	at        time.Time
}

// Role returns a role's inline and attached policies.
func (p *AccountPolicies) Role(ctx context.Context, roleARN string) ([]iampolicy.Document, error) {
	return p.remember("role "+roleARN, func() ([]iampolicy.Document, error) {
		texts, err := p.roleTexts(ctx, roleARN[strings.LastIndex(roleARN, "/")+1:])
		if err != nil {
			return nil, fmt.Errorf("read policies of %s: %w", roleARN, err)
		}
		return parseAll(texts)
	})
}

// Bucket returns a bucket's policy.
func (p *AccountPolicies) Bucket(ctx context.Context, bucket string) ([]iampolicy.Document, error) {
	if bucket == "" {
		return nil, nil
	}
	return p.remember("bucket "+bucket, func() ([]iampolicy.Document, error) {
		out, err := p.S3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket})
		var api smithy.APIError
		if errors.As(err, &api) && (api.ErrorCode() == "NoSuchBucketPolicy" || api.ErrorCode() == "NoSuchBucket") {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read policy of bucket %s: %w", bucket, err)
		}
		return parseAll([]string{*out.Policy})
	})
}

// Endpoint returns the policy of the S3 endpoint that an instance's subnet uses.
func (p *AccountPolicies) Endpoint(_ context.Context, instanceID string) ([]iampolicy.Document, error) {
	text := p.EndpointPolicy(instanceID)
	if text == "" {
		return nil, nil
	}
	return parseAll([]string{text})
}

func (p *AccountPolicies) remember(what string, read func() ([]iampolicy.Document, error)) ([]iampolicy.Document, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.known[what]; ok && time.Since(r.at) < policyLife {
		return r.documents, nil
	}
	documents, err := read()
	if err != nil {
		return nil, err
	}
	if p.known == nil {
		p.known = map[string]reading{}
	}
	p.known[what] = reading{documents, time.Now()}
	return documents, nil
}

func (p *AccountPolicies) roleTexts(ctx context.Context, role string) ([]string, error) {
	var texts []string
	inline, err := p.IAM.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &role})
	if err != nil {
		return nil, err
	}
	for _, name := range inline.PolicyNames {
		out, err := p.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
		if err != nil {
			return nil, err
		}
		texts = append(texts, *out.PolicyDocument)
	}
	attached, err := p.IAM.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &role})
	if err != nil {
		return nil, err
	}
	for _, a := range attached.AttachedPolicies {
		policy, err := p.IAM.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: a.PolicyArn})
		if err != nil {
			return nil, err
		}
		version, err := p.IAM.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: a.PolicyArn, VersionId: policy.Policy.DefaultVersionId})
		if err != nil {
			return nil, err
		}
		texts = append(texts, *version.PolicyVersion.Document)
	}
	return texts, nil
}

// parseAll parses policy documents, which the IAM API returns URL-encoded.
func parseAll(texts []string) ([]iampolicy.Document, error) {
	var all []iampolicy.Document
	for _, text := range texts {
		if strings.HasPrefix(text, "%7B") {
			decoded, err := url.QueryUnescape(text)
			if err != nil {
				return nil, fmt.Errorf("decode policy document: %w", err)
			}
			text = decoded
		}
		document, err := iampolicy.Parse([]byte(text))
		if err != nil {
			return nil, err
		}
		all = append(all, document)
	}
	return all, nil
}
