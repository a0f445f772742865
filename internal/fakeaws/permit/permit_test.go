package permit_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/fakeaws/permit"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

const policy = `{"Statement":[
 {"Effect":"Allow","Action":["ec2:CreateVpc"],"Resource":"*"},
 {"Effect":"Allow","Action":["ec2:CreateTags"],"Resource":"*","Condition":{"StringEquals":{"ec2:CreateAction":"CreateVpc"}}},
 {"Effect":"Allow","Action":["ec2:DeleteVpc"],"Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/mine":"yes"}}},
 {"Effect":"Allow","Action":["s3:CreateBucket","s3:GetObject"],"Resource":"*"},
 {"Effect":"Allow","Action":["s3:ListBucket"],"Resource":"*","Condition":{"StringLike":{"s3:prefix":"a/*"}}}]}`

func start(t *testing.T, key string) aws.Config {
	t.Helper()
	document, err := iampolicy.Parse([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	guard := permit.New(moto.Account)
	guard.Restrict("AKIARESTRICTED", document)
	front, err := fakeaws.Start(fakeaws.Options{Upstream: mototest.Empty(t).URL, Fixups: append([]fakeaws.Fixup{guard.Fixup()}, fixups.All(fixups.Options{})...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	return aws.Config{BaseEndpoint: &front.URL, Region: "eu-west-1", RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(key, "test", "")}
}

func TestConditionsOnTagsAreEnforced(t *testing.T) {
	client := ec2.NewFromConfig(start(t, "AKIARESTRICTED"))
	for value, code := range map[string]string{"yes": "", "no": "UnauthorizedOperation"} {
		vpc, err := client.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeVpc, Tags: []types.Tag{{Key: aws.String("mine"), Value: &value}}}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{*vpc.Vpc.VpcId}, Tags: []types.Tag{{Key: aws.String("mine"), Value: aws.String("yes")}}})
		if !awswait.HasCode(err, "UnauthorizedOperation") || !strings.Contains(err.Error(), "ec2:CreateTags") {
			t.Errorf("an existing VPC was tagged: %v", err)
		}
		if _, err = client.DeleteVpc(t.Context(), &ec2.DeleteVpcInput{VpcId: vpc.Vpc.VpcId}); awswait.Code(err) != code {
			t.Errorf("delete of a VPC with mine = %s: %v, want %q", value, err, code)
		}
	}
	if _, err := client.DescribeVpcs(t.Context(), nil); !awswait.HasCode(err, "UnauthorizedOperation") {
		t.Errorf("an action that the policy does not have: %v", err)
	}
}

func TestAnAbsentKeyIsHiddenFromACallerWhoMayListAPrefixOnly(t *testing.T) {
	client := s3.NewFromConfig(start(t, "AKIARESTRICTED"), func(o *s3.Options) { o.UsePathStyle = true })
	bucket := aws.String("b-" + moto.Account)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String("a/key")}); !awswait.HasCode(err, "AccessDenied") {
		t.Errorf("got %v, want AccessDenied", err)
	}
	for prefix, code := range map[string]string{"a/": "", "b/": "AccessDenied"} {
		if _, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket, Prefix: &prefix}); awswait.Code(err) != code {
			t.Errorf("list of %s: %v, want %q", prefix, err, code)
		}
	}
}

func TestAKeyWithoutAPolicyIsNotRestricted(t *testing.T) {
	if _, err := ec2.NewFromConfig(start(t, "test")).DescribeVpcs(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
