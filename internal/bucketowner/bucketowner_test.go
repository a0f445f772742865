package bucketowner

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const account = "123456789012"

// recorder keeps the last request instead of sending it.
type recorder struct{ last *http.Request }

func (r *recorder) Do(request *http.Request) (*http.Response, error) {
	r.last = request
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<Result/>")), Request: request}, nil
}

func newClient(find func(context.Context) (string, error)) (*s3.Client, *recorder) {
	r := &recorder{}
	return s3.New(s3.Options{Region: "eu-west-1", HTTPClient: r, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}, Require(find)), r
}

// withoutOwner are the operations that have no expected owner in S3's API.
var withoutOwner = map[string]bool{"CreateBucket": true, "CreateSession": true, "ListBuckets": true, "ListDirectoryBuckets": true,
	"RenameObject": true, "WriteGetObjectResponse": true}

// fill sets the members that an operation may require.
func fill(input reflect.Value) {
	for i := range input.NumField() {
		field := input.Field(i)
		switch {
		case !field.CanSet() || strings.HasPrefix(input.Type().Field(i).Name, "Expected"):
		case field.Type() == reflect.TypeFor[*string]():
			field.Set(reflect.ValueOf(aws.String("source/x")))
		case field.Type() == reflect.TypeFor[*int32]():
			field.Set(reflect.ValueOf(aws.Int32(1)))
		case field.Kind() == reflect.Pointer && field.Type().Elem().Kind() == reflect.Struct:
			field.Set(reflect.New(field.Type().Elem()))
		}
	}
	if bucket := input.FieldByName("Bucket"); bucket.IsValid() {
		bucket.Set(reflect.ValueOf(aws.String("uploads")))
	}
}

func TestEveryOperationOfTheSDKNamesTheOwner(t *testing.T) {
	client, sent := newClient(Account(account))
	named := 0
	for i := range reflect.TypeOf(client).NumMethod() {
		method := reflect.TypeOf(client).Method(i)
		if method.Name == "Options" || method.Type.NumIn() != 4 || !strings.HasSuffix(method.Type.In(2).String(), method.Name+"Input") {
			continue
		}
		input := reflect.New(method.Type.In(2).Elem())
		fill(input.Elem())
		before := reflect.New(input.Type().Elem())
		before.Elem().Set(input.Elem())
		sent.last = nil
		result := method.Func.Call([]reflect.Value{reflect.ValueOf(client), reflect.ValueOf(t.Context()), input})
		if sent.last == nil {
			if !withoutOwner[method.Name] {
				t.Logf("%s was not sent: %v", method.Name, result[1])
			}
			continue
		}
		if got := sent.last.Header.Get("X-Amz-Expected-Bucket-Owner"); (got == account) == withoutOwner[method.Name] {
			t.Errorf("%s names the owner %q", method.Name, got)
		}
		named++
		if !reflect.DeepEqual(before.Interface(), input.Interface()) {
			t.Errorf("%s changed the caller's input", method.Name)
		}
	}
	if named < 60 {
		t.Errorf("only %d operations were sent", named)
	}
}

func TestTheSourceOfACopyHasAnOwnerToo(t *testing.T) {
	client, sent := newClient(Account(account))
	if _, err := client.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), CopySource: aws.String("b/k")}); err != nil {
		t.Fatal(err)
	}
	if got := sent.last.Header.Get("X-Amz-Source-Expected-Bucket-Owner"); got != account {
		t.Errorf("the source's owner is %q", got)
	}
}

func TestAnOwnerThatTheInputNamesIsKept(t *testing.T) {
	client, sent := newClient(Account(account))
	if _, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Range: aws.String("bytes=0-3"), ExpectedBucketOwner: aws.String("210987654321")}); err != nil {
		t.Fatal(err)
	}
	if got := sent.last.Header.Get("X-Amz-Expected-Bucket-Owner"); got != "210987654321" || sent.last.Header.Get("Range") != "bytes=0-3" {
		t.Errorf("the owner is %q", got)
	}
}

func TestPresignedRequestsNameTheOwner(t *testing.T) {
	client, _ := newClient(Account(account))
	request, err := s3.NewPresignClient(client).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("b"), Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.ToLower(request.URL), "x-amz-expected-bucket-owner") && request.SignedHeader.Get("X-Amz-Expected-Bucket-Owner") != account {
		t.Errorf("neither %s nor the signed header names the owner", request.URL)
	}
}

func TestNothingIsSentWhileTheOwnerIsUnknown(t *testing.T) {
	calls, failure := 0, errors.New("metadata service is away")
	client, sent := newClient(func(context.Context) (string, error) {
		if calls++; calls == 1 {
			return "", failure
		}
		return account, nil
	})
	get := func() error {
		_, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("b"), Key: aws.String("k")})
		return err
	}
	if err := get(); !errors.Is(err, failure) || sent.last != nil {
		t.Errorf("got %v, sent %v", err, sent.last)
	}
	for range 2 {
		if err := get(); err != nil {
			t.Error(err)
		}
	}
	if calls != 2 {
		t.Errorf("the account was looked up %d times, want 2", calls)
	}
}
