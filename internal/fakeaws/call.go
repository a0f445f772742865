package fakeaws

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Services that the proxy distinguishes, named as in a SigV4 credential scope.
const (
	EC2 = "ec2"
	IAM = "iam"
	STS = "sts"
	S3  = "s3"
	DLM = "dlm"

	Resolver = "route53resolver"
)

// Call is one decoded request to an AWS API.
type Call struct {
	// Seq is the number of the call, and Mutation its number among the mutating
	// calls, both from 1 in order of arrival. Mutation is 0 if the call only reads.
	Seq, Mutation int
	Service       string // EC2, IAM, STS, S3, or another that the request is signed for
	Action        string // as in the API: RunInstances, PutBucketPolicy
	Region        string
	// Params are the form values of a call in the query protocol (EC2, IAM, STS). A
	// middleware must change them with SetParams.
	Params url.Values
	// Bucket and Key are the bucket and object of an S3 call.
	Bucket, Key string
	// Resource names what the call operates on, for the log. It never contains a
	// secret.
	Resource string
	// Request is the request that is sent to moto.
	Request *http.Request

	upstream string // moto's URL
}

// Mutating reports whether the call changes state.
func (c *Call) Mutating() bool { return c.Mutation > 0 }

// AccessKey returns the id of the access key that signed the call, or "".
func (c *Call) AccessKey() string {
	credential := c.Request.URL.Query().Get("X-Amz-Credential")
	if _, after, ok := strings.Cut(c.Request.Header.Get("Authorization"), "Credential="); ok {
		credential = after
	}
	id, _, _ := strings.Cut(credential, "/")
	return id
}

// Is reports whether the call is one of the named actions of a service.
func (c *Call) Is(service string, actions ...string) bool {
	if c.Service != service {
		return false
	}
	for _, a := range actions {
		if c.Action == a {
			return true
		}
	}
	return false
}

// SetParams replaces the form values that are sent to moto.
func (c *Call) SetParams(params url.Values) {
	c.Params = params
	c.SetBody([]byte(params.Encode()))
}

// With returns another call to the same service with other form values, for a
// middleware that needs several calls to moto for one response.
func (c *Call) With(params url.Values) *Call {
	second := *c
	second.Request = c.Request.Clone(context.WithoutCancel(c.Request.Context()))
	second.Action = params.Get("Action")
	second.SetParams(params)
	return &second
}

// Moto returns a configuration for clients that connect directly to moto, in the
// call's region, for calls that a middleware needs to make.
func (c *Call) Moto() aws.Config {
	return aws.Config{
		BaseEndpoint: &c.upstream, Region: c.Region,
		Credentials: credentials.NewStaticCredentialsProvider("front", "front", ""),
		// See Front.transport: moto closes idle connections.
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true }),
	}
}

// Context returns the call's context, which does not end when the client
// disconnects.
func (c *Call) Context() context.Context { return context.WithoutCancel(c.Request.Context()) }

// ReadBody returns the whole body and leaves it readable.
func (c *Call) ReadBody() ([]byte, error) {
	if c.Request.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return nil, fmt.Errorf("read body of %s %s: %w", c.Service, c.Action, err)
	}
	c.SetBody(body)
	return body, nil
}

// SetBody replaces the body that is sent to moto.
func (c *Call) SetBody(body []byte) {
	c.Request.Body = io.NopCloser(bytes.NewReader(body))
	c.Request.ContentLength = int64(len(body))
	c.Request.TransferEncoding = nil
	c.Request.Header.Set("Content-Length", fmt.Sprint(len(body)))
}

// decode identifies the API call of a request. It reads the body of a call in the
// query protocol; bodies of S3 calls, which may be large, stay unread.
func decode(r *http.Request) (*Call, error) {
	c := &Call{Request: r}
	c.Region, c.Service = credentialScope(r)
	if isForm(r) && c.Service != S3 {
		body, err := c.ReadBody()
		if err != nil {
			return nil, err
		}
		if c.Params, err = url.ParseQuery(string(body)); err != nil {
			return nil, fmt.Errorf("parse form of %s call: %w", c.Service, err)
		}
		c.Action = c.Params.Get("Action")
		if c.Service == "" {
			c.Service = serviceOfVersion[c.Params.Get("Version")]
		}
		c.Resource = resourceOfParams(c.Params)
		return c, nil
	}
	if _, action, isJSON := strings.Cut(r.Header.Get("X-Amz-Target"), "."); isJSON {
		c.Action = action
		return c, nil
	}
	if c.Service == "" {
		c.Service = S3 // an anonymous request for an object
	}
	if c.Service == DLM {
		c.Action, c.Resource = dlmAction(r)
	}
	if c.Service == S3 {
		c.Bucket, c.Key = bucketAndKey(r)
		c.Action = s3Action(r, c.Bucket, c.Key)
		c.Resource = strings.TrimSuffix(c.Bucket+"/"+c.Key, "/")
	}
	return c, nil
}

// serviceOfVersion has the service of unsigned calls, such as
// AssumeRoleWithWebIdentity, by API version.
var serviceOfVersion = map[string]string{
	"2016-11-15": EC2,
	"2010-05-08": IAM,
	"2011-06-15": STS,
}

func isForm(r *http.Request) bool {
	return r.Method == http.MethodPost &&
		strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// credentialScope returns region and service of a SigV4 signature in the header or
// a presigned URL: KEY/DATE/REGION/SERVICE/aws4_request.
func credentialScope(r *http.Request) (region, service string) {
	credential := r.URL.Query().Get("X-Amz-Credential")
	if _, after, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		credential, _, _ = strings.Cut(after, ",")
	}
	part := strings.Split(credential, "/")
	if len(part) != 5 {
		return "", ""
	}
	return part[2], strings.ToLower(part[3])
}

// mutates reports whether an action changes state, judging by the verbs with which
// AWS names actions that only read.
func mutates(c *Call) bool {
	if c.Params.Get("DryRun") == "true" {
		return false
	}
	switch c.Service {
	case S3:
		return c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead &&
			c.Action != "SelectObjectContent"
	case STS:
		return false
	}
	for _, verb := range []string{"Describe", "Get", "List", "Search", "Simulate", "Generate", "Decode"} {
		if strings.HasPrefix(c.Action, verb) {
			return false
		}
	}
	return c.Action != ""
}

// resourceOfParams returns the values that best identify what a call operates on:
// ids and names.
func resourceOfParams(p url.Values) string {
	var hints []string
	for _, key := range resourceParams {
		if v := p.Get(key); v != "" {
			hints = append(hints, v)
		}
	}
	return strings.Join(hints, " ")
}

var resourceParams = []string{
	"InstanceId", "InstanceId.1", "VolumeId", "VolumeId.1", "AllocationId", "AllocationId.1", "VpcEndpointId",
	"GroupId", "GroupId.1", "RouteTableId", "RouteTableId.1", "InternetGatewayId", "SubnetId", "SubnetId.1",
	"NetworkInterface.1.SubnetId", "NetworkInterface.1.PrivateIpAddress", "VpcId", "VpcId.1", "ImageId",
	"SnapshotId", "ResourceId.1", "CidrBlock", "DestinationCidrBlock", "ServiceName", "GroupName", "KeyName",
	"RoleName", "InstanceProfileName", "PolicyName", "PolicyArn", "IamInstanceProfile.Name", "RoleArn",
}
