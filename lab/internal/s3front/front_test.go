package s3front

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/hashicorp/go-hclog"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
	"github.com/xeroops/xeroops/lab/internal/imds"
)

const (
	region = "eu-west-1"
	bucket = "uploads-1"
)

// lab is a Front with a moto behind it, reached like S3 from a machine: by its real
// name, over TLS, with a role's credentials.
type lab struct {
	t      *testing.T
	admin  *s3.Client
	iam    *iam.Client
	issuer *imds.Issuer
	clock  time.Time
	http   *http.Client
}

func start(t *testing.T) *lab {
	t.Helper()
	moto := mototest.Start(t, moto.Options{})
	upstream, err := fakeaws.Start(fakeaws.Options{Upstream: moto.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { upstream.Close() })
	cfg := aws.Config{Region: region, BaseEndpoint: &upstream.URL, Credentials: credentials.NewStaticCredentialsProvider("lab", "lab", "")}
	l := &lab{t: t, clock: time.Now(), iam: iam.NewFromConfig(cfg), admin: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })}
	l.issuer = imds.NewIssuer(func() time.Time { return l.clock })
	front := &Front{
		Upstream: upstream, Issuer: l.issuer, Now: func() time.Time { return l.clock }, Log: hclog.NewNullLogger(),
		Policies: &AccountPolicies{IAM: l.iam, S3: l.admin, EndpointPolicy: func(string) string { return "" }},
	}
	ca, err := LoadCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(front)
	server.TLS = ca.TLSConfig(Names)
	server.StartTLS()
	t.Cleanup(server.Close)
	l.http = trusting(ca, server.Listener.Addr().String())
	l.createBucket()
	return l
}

// trusting returns a client that resolves every name to address and trusts the CA.
func trusting(ca *CA, address string) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(ca.PEM)
	return &http.Client{Transport: transport}
}

// role creates a role with one inline policy and returns an S3 client with credentials
// of the role.
func (l *lab) role(name, policy string, options ...func(*s3.Options)) *s3.Client {
	l.t.Helper()
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	role, err := l.iam.CreateRole(l.t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.iam.PutRolePolicy(l.t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("p"), PolicyDocument: &policy}); err != nil {
		l.t.Fatal(err)
	}
	c := l.issuer.Issue("i-0123456789abcdef0", *role.Role.Arn, time.Hour)
	cfg := aws.Config{Region: region, HTTPClient: l.http, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)}
	return s3.NewFromConfig(cfg, options...)
}

func (l *lab) put(key string) {
	l.t.Helper()
	if _, err := l.admin.PutObject(l.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader("content of " + key)}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) createBucket() {
	_, err := l.admin.CreateBucket(l.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: region}})
	if err != nil {
		l.t.Fatal(err)
	}
}

func get(ctx context.Context, client *s3.Client, key string) (string, string) {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		return "", code(err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(out.Body)
	return string(content), fmt.Sprint(err)
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

// TestFront runs its subtests on one moto. The last two change the clock and the
// bucket's policy.
func TestFront(t *testing.T) {
	l := start(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *lab)
	}{
		{"RolePolicyIsEnforced", checkRolePolicy},
		{"AbsentKeyIsDeniedWithoutListPermission", checkAbsentKey},
		{"InvalidCredentialsAreRejected", checkInvalidCredentials},
		{"BucketPolicyDenies", checkBucketPolicy},
	} {
		t.Run(test.name, func(t *testing.T) {
			l.t = t
			test.run(t, l)
		})
	}
}

func checkRolePolicy(t *testing.T, l *lab) {
	l.put("clusters/c/credentials/db/prod-credentials.env")
	l.put("clusters/c/credentials/app/prod-credentials.env")
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::uploads-1/clusters/c/credentials/db/*"}]}`
	for style, option := range map[string]func(*s3.Options){
		"virtual-hosted": func(*s3.Options) {},
		"path":           func(o *s3.Options) { o.UsePathStyle = true },
	} {
		t.Run(style, func(t *testing.T) {
			l.t = t
			client := l.role("db-"+style, policy, option)
			if content, _ := get(t.Context(), client, "clusters/c/credentials/db/prod-credentials.env"); content != "content of clusters/c/credentials/db/prod-credentials.env" {
				t.Errorf("own credentials: %q", content)
			}
			if _, code := get(t.Context(), client, "clusters/c/credentials/app/prod-credentials.env"); code != "AccessDenied" {
				t.Errorf("another role's credentials: %s, want AccessDenied", code)
			}
			key := "clusters/c/credentials/db/a b+c/ü"
			if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader("x")}); err != nil {
				t.Errorf("write: %v", err)
			}
			if content, code := get(t.Context(), client, key); content != "x" {
				t.Errorf("read what was written: %q %s", content, code)
			}
			_, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
			if code(err) != "AccessDenied" {
				t.Errorf("list: %v, want AccessDenied", err)
			}
		})
	}
}

func checkAbsentKey(t *testing.T, l *lab) {
	read := `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::uploads-1/*"}`
	list := `,{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::uploads-1"}`
	blind := l.role("blind", `{"Version":"2012-10-17","Statement":[`+read+`]}`)
	if _, code := get(t.Context(), blind, "absent"); code != "AccessDenied" {
		t.Errorf("without ListBucket: %s, want AccessDenied", code)
	}
	seeing := l.role("seeing", `{"Version":"2012-10-17","Statement":[`+read+list+`]}`)
	if _, code := get(t.Context(), seeing, "absent"); code != "NoSuchKey" {
		t.Errorf("with ListBucket: %s, want NoSuchKey", code)
	}
}

func checkBucketPolicy(t *testing.T, l *lab) {
	l.put("k")
	client := l.role("denied", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
	deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::uploads-1/*","Condition":{"StringEquals":{"aws:PrincipalAccount":"123456789012"}}}]}`
	if _, err := l.admin.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: &deny}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) { // policies are cached for policyLife
		_, code := get(t.Context(), client, "k")
		if code == "AccessDenied" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("read denied by the bucket policy: %s, want AccessDenied", code)
		}
	}
}

func checkInvalidCredentials(t *testing.T, l *lab) {
	l.put("k")
	client := l.role("r", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
	with := func(provider aws.CredentialsProvider) func(*s3.Options) {
		return func(o *s3.Options) { o.Credentials = provider }
	}
	get := func(provider aws.CredentialsProvider) string {
		_, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("k")}, with(provider))
		return code(err)
	}
	good := l.issuer.Issue("i-0123456789abcdef0", "arn:aws:iam::123456789012:role/r", time.Hour)
	if got := get(credentials.NewStaticCredentialsProvider("AKIAUNKNOWN", "s", "")); got != "InvalidAccessKeyId" {
		t.Errorf("unknown key: %s", got)
	}
	if got := get(credentials.NewStaticCredentialsProvider(good.AccessKeyID, "s", "other")); got != "InvalidToken" {
		t.Errorf("wrong session token: %s", got)
	}
	answer, err := l.http.Get("https://" + bucket + ".s3.eu-west-1.amazonaws.com/k")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("anonymous: %s", answer.Status)
	}
	l.clock = l.clock.Add(2 * time.Hour)
	if got := get(credentials.NewStaticCredentialsProvider(good.AccessKeyID, good.SecretAccessKey, good.SessionToken)); got != "ExpiredToken" {
		t.Errorf("expired: %s", got)
	}
}
