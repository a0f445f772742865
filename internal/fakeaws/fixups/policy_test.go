package fixups_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestBucketPolicyIsReturnedInTheFormOfS3(t *testing.T) {
	f := newFixture(t, fast)
	bucket := f.bucket("a-bucket")
	_, err := f.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: bucket, Policy: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["123456789012"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::a-bucket","arn:aws:s3:::a-bucket/*"]}]}`)})
	f.ok(err)
	got, err := f.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: bucket})
	f.ok(err)
	const want = `{"Statement":[{"Action":"s3:GetObject","Effect":"Allow","Principal":{"AWS":"123456789012"},"Resource":["arn:aws:s3:::a-bucket/*","arn:aws:s3:::a-bucket"]}],"Version":"2012-10-17"}`
	if *got.Policy != want {
		t.Errorf("policy:\n got %s\nwant %s", *got.Policy, want)
	}
}

func TestTrustPolicyIsReturnedInTheFormOfIAM(t *testing.T) {
	f := newFixture(t, fast)
	_, err := f.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("role"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com","ssm.amazonaws.com"]},"Action":["sts:AssumeRole"]}]}`)})
	f.ok(err)
	const want = `{"Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["ssm.amazonaws.com","ec2.amazonaws.com"]}}],"Version":"2012-10-17"}`
	one, err := f.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("role")})
	f.ok(err)
	all, err := f.iam.ListRoles(ctx, &iam.ListRolesInput{})
	f.ok(err)
	for _, encoded := range []string{*one.Role.AssumeRolePolicyDocument, *all.Roles[0].AssumeRolePolicyDocument} {
		if got, err := url.PathUnescape(encoded); err != nil || got != want {
			t.Errorf("trust policy, %v:\n got %s\nwant %s", err, got, want)
		}
	}
}

func TestInlinePoliciesOfARoleAreLimitedTogether(t *testing.T) {
	f := newFixture(t, fast)
	role := aws.String("role")
	_, err := f.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	f.ok(err)
	put := func(name string, length int) error {
		const head, tail = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::`, `"}]}`
		document := head + strings.Repeat("k", length-len(head)-len(tail)) + tail + strings.Repeat(" \n", 100)
		_, err := f.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: role, PolicyName: &name, PolicyDocument: &document})
		return err
	}
	f.ok(put("one", 10240))
	f.refused(put("one", 10241), "LimitExceeded")
	f.ok(put("one", 6000))
	f.refused(put("two", 4241), "LimitExceeded")
	f.ok(put("two", 4240))
}
