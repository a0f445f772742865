package fakeaws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

var ctx = context.Background()

func start(t *testing.T) *fakeaws.Front {
	t.Helper()
	moto := mototest.Start(t, moto.Options{})
	front, err := fakeaws.Start(fakeaws.Options{Upstream: moto.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	return front
}

// config returns a configuration for clients that do not retry, so that each fault
// is visible.
func config(front *fakeaws.Front) aws.Config {
	return aws.Config{
		BaseEndpoint: &front.URL, Region: "eu-west-1", RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}

func s3Client(front *fakeaws.Front) *s3.Client {
	return s3.NewFromConfig(config(front), func(o *s3.Options) { o.UsePathStyle = true })
}

func actions(front *fakeaws.Front) []string {
	var names []string
	for _, r := range front.Calls() {
		name := r.Service + ":" + r.Action
		if r.Mutation > 0 {
			name += "!"
		}
		names = append(names, name)
	}
	return names
}

func createVPC(front *fakeaws.Front) error {
	_, err := ec2.NewFromConfig(config(front)).CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	return err
}

func vpcs(t *testing.T, front *fakeaws.Front) int {
	t.Helper()
	out, err := ec2.NewFromConfig(config(front)).DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Vpcs) - 1 // the default one
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestLogNamesCallsOfEveryProtocolAndCountsMutations(t *testing.T) {
	front := start(t)
	bucket := aws.String("a-bucket")
	s3c := s3Client(front)
	calls := []func() error{
		func() error { return createVPC(front) },
		func() error {
			_, err := iam.NewFromConfig(config(front)).CreateRole(ctx, &iam.CreateRoleInput{
				RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
			return err
		},
		func() error {
			_, err := sts.NewFromConfig(config(front)).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			return err
		},
		func() error {
			_, err := s3c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{
				LocationConstraint: "eu-west-1"}})
			return err
		},
		func() error {
			_, err := s3c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: bucket,
				VersioningConfiguration: &s3types.VersioningConfiguration{Status: "Enabled"}})
			return err
		},
		func() error {
			_, err := s3c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("a/key"), Body: strings.NewReader("secret")})
			return err
		},
		func() error {
			_, err := s3c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("a/key")})
			return err
		},
		func() error {
			_, err := s3c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket})
			return err
		},
		func() error {
			_, err := s3c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &s3types.Delete{
				Objects: []s3types.ObjectIdentifier{{Key: aws.String("a/key")}}}})
			return err
		},
		func() error { _, err := s3c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: bucket}); return err },
	}
	for i, call := range calls {
		if err := call(); err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
	want := []string{"ec2:CreateVpc!", "iam:CreateRole!", "sts:GetCallerIdentity", "s3:CreateBucket!", "s3:PutBucketVersioning!",
		"s3:PutObject!", "s3:GetObject", "s3:ListObjectVersions", "s3:DeleteObjects!", "s3:HeadBucket"}
	if got := actions(front); !slices.Equal(got, want) {
		t.Errorf("calls:\n got %v\nwant %v", got, want)
	}
	log := front.Calls()
	if got := log[5]; got.Resource != "a-bucket/a/key" || got.Status != 200 || got.Mutation != 5 || !got.End.After(got.Start) {
		t.Errorf("PutObject's record: %+v", got)
	}
	if text, _ := json.Marshal(log); bytes.Contains(text, []byte("secret")) {
		t.Errorf("the log holds a body: %s", text)
	}
}

func TestFaultsReturnErrorsInTheProtocolOfTheCall(t *testing.T) {
	front := start(t)
	calls := map[string]func() error{
		fakeaws.EC2: func() error { return createVPC(front) },
		fakeaws.IAM: func() error {
			_, err := iam.NewFromConfig(config(front)).DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: aws.String("r")})
			return err
		},
		fakeaws.S3: func() error {
			_, err := s3Client(front).ListBuckets(ctx, &s3.ListBucketsInput{})
			return err
		},
	}
	want := map[string]string{fakeaws.EC2: "RequestLimitExceeded", fakeaws.IAM: "Throttling", fakeaws.S3: "SlowDown"}
	for service, call := range calls {
		for effect, want := range map[fakeaws.Effect]string{
			fakeaws.Throttle: want[service], fakeaws.ServerError: "InternalError", fakeaws.Fail: "Odd<Code>"} {
			if err := front.Inject(fakeaws.Fault{Service: service, Effect: effect, Code: "Odd<Code>", Message: "a & b"}); err != nil {
				t.Fatal(err)
			}
			if err := call(); code(err) != want {
				t.Errorf("%s, effect %s: got %v, want code %s", service, effect, err, want)
			}
		}
	}
	if n := vpcs(t, front); n != 0 {
		t.Errorf("%d calls took effect in spite of the fault", n)
	}
}

func TestConnectionIsDroppedBeforeOrAfterTheEffect(t *testing.T) {
	front := start(t)
	for _, tc := range []struct {
		effect fakeaws.Effect
		made   int
	}{{fakeaws.DropBefore, 0}, {fakeaws.DropAfter, 1}} {
		if err := front.Inject(fakeaws.Fault{Action: "CreateVpc", Effect: tc.effect}); err != nil {
			t.Fatal(err)
		}
		if err := createVPC(front); err == nil || code(err) != "" {
			t.Errorf("%s: got %v, want a broken connection", tc.effect, err)
		}
		if n := vpcs(t, front); n != tc.made {
			t.Errorf("%s: %d VPCs, want %d", tc.effect, n, tc.made)
		}
	}
}

func TestAfterRunsWhenTheNthMutationTookEffect(t *testing.T) {
	front := start(t)
	made := 0
	err := front.Inject(fakeaws.Fault{Mutation: 2, Effect: fakeaws.Observe, After: func(c *fakeaws.Call) {
		if c.Action == "CreateVpc" {
			made = vpcs(t, front)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := createVPC(front); err != nil {
			t.Fatal(err)
		}
	}
	if made != 2 {
		t.Errorf("After saw %d VPCs, want 2", made)
	}
}

func TestNthTimesAndRateSelectCalls(t *testing.T) {
	front := start(t)
	failures := func(f fakeaws.Fault, calls int) (failed []int) {
		front.ClearFaults()
		if err := front.Inject(f); err != nil {
			t.Fatal(err)
		}
		for i := range calls {
			if _, err := s3Client(front).ListBuckets(ctx, &s3.ListBucketsInput{}); err != nil {
				failed = append(failed, i+1)
			}
		}
		return failed
	}
	if got := failures(fakeaws.Fault{Nth: 3, Effect: fakeaws.ServerError}, 6); !slices.Equal(got, []int{3}) {
		t.Errorf("third call: failed %v", got)
	}
	if got := failures(fakeaws.Fault{Times: 2, Effect: fakeaws.ServerError}, 4); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("two times: failed %v", got)
	}
	if got := failures(fakeaws.Fault{Rate: 0.5, Times: -1, Effect: fakeaws.ServerError}, 60); len(got) < 15 || len(got) > 45 {
		t.Errorf("half of 60: failed %d", len(got))
	}
}

func TestControlRequests(t *testing.T) {
	front := start(t)
	control := func(method, name, body string) string {
		t.Helper()
		req, _ := http.NewRequest(method, front.URL+fakeaws.ControlPath+name, strings.NewReader(body))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode >= 300 {
			return res.Status + " " + string(text)
		}
		return string(text)
	}
	control("PUT", "latency", `{"latency":"120ms"}`)
	control("POST", "faults", `{"action":"CreateVpc","effect":"error","code":"VpcLimitExceeded"}`)
	if err := createVPC(front); code(err) != "VpcLimitExceeded" {
		t.Errorf("got %v", err)
	}
	var log []fakeaws.Record
	if err := json.Unmarshal([]byte(control("GET", "calls", "")), &log); err != nil || len(log) != 1 {
		t.Fatalf("log: %v %v", log, err)
	}
	if took := log[0].End.Sub(log[0].Start); took < 120*time.Millisecond {
		t.Errorf("the call took %s, less than the latency", took)
	}
	if got := control("POST", "faults", `{"efect":"500"}`); !strings.HasPrefix(got, "400") {
		t.Errorf("a misspelt fault: %s", got)
	}
}
