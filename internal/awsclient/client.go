// Package awsclient creates the AWS clients of the provider and the Packer plugin.
// Credentials and wire logging come from aws-sdk-go-base, retries are adaptive, and
// no call is made before its result is needed.
//
// aws-sdk-go-base stays at v2.0.0-beta.73: beta.74 pools the buffers of its request
// log and reuses them while the request is still being sent, so that concurrent
// calls corrupt each other's requests.
package awsclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dlm"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	awsbase "github.com/hashicorp/aws-sdk-go-base/v2"
	"github.com/hashicorp/aws-sdk-go-base/v2/diag"
	"github.com/hashicorp/aws-sdk-go-base/v2/logging"

	"github.com/xeroops/xeroops/internal/bucketowner"
)

// DefaultMaxRetries is the maximum number of attempts if max_retries is not set.
// With the SDK's backoff of up to 20 s, calls survive two minutes of throttling.
const DefaultMaxRetries = 10

// Settings are the account and region to use, and how to reach them.
type Settings struct {
	Region            string
	Profile           string
	AssumeRole        []awsbase.AssumeRole
	Endpoints         Endpoints
	S3UsePathStyle    bool
	AllowedAccountIDs []string // empty: any account
	MaxRetries        int      // 0: DefaultMaxRetries
	Product           string   // for the User-Agent, with Version
	Version           string
}

// Endpoints override the URLs of AWS; an empty string keeps AWS's own.
type Endpoints struct {
	EC2, IAM, S3, STS string
}

// Client holds a client per service, for one account and region. It is safe
// for concurrent use.
type Client struct {
	EC2    *EC2
	IAM    *iam.Client
	S3     *s3.Client
	STS    *sts.Client
	DLM    *dlm.Client
	Region string
	// Config is the configuration that the clients were created with, for services
	// not listed here.
	Config aws.Config

	identity func() (identity, error)
}

// New resolves credentials and creates the clients. It returns an error if there
// are no credentials or no region, or if the credentials belong to an account that
// is not allowed. Without AllowedAccountIDs, it looks up the account in the
// background.
func New(ctx context.Context, s Settings) (*Client, error) {
	maxRetries := s.MaxRetries
	if maxRetries == 0 {
		maxRetries = DefaultMaxRetries
	}
	_, cfg, diags := awsbase.GetAwsConfig(ctx, &awsbase.Config{
		Region:     s.Region,
		Profile:    s.Profile,
		AssumeRole: s.AssumeRole,
		MaxRetries: maxRetries,
		RetryMode:  aws.RetryModeAdaptive,
		// The client that assumes the role of a profile does not read the environment.
		StsEndpoint:         cmp.Or(s.Endpoints.STS, os.Getenv("AWS_ENDPOINT_URL_STS"), os.Getenv("AWS_ENDPOINT_URL")),
		IamEndpoint:         s.Endpoints.IAM,
		Logger:              logging.TfLogger(""),
		SkipCredsValidation: true, // AccountID validates them, for callers that need it
		CallerName:          "XeroOps",

		CallerDocumentationURL: "https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html",

		APNInfo: &awsbase.APNInfo{PartnerName: "XeroOps", Products: []awsbase.UserAgentProduct{{Name: s.Product, Version: s.Version}}},
	})
	if diags.HasError() {
		return nil, configurationError(diags, cmp.Or(s.Profile, os.Getenv("AWS_PROFILE")))
	}
	if cfg.Region == "" {
		return nil, errors.New("configure AWS: no region; set region in the provider block, or AWS_REGION")
	}
	cfg.APIOptions = append(cfg.APIOptions, logToTerraform, explainDenials, explainExpiry)

	c := &Client{
		EC2: NewEC2(ec2.NewFromConfig(cfg, func(o *ec2.Options) {
			o.BaseEndpoint = endpoint(s.Endpoints.EC2, o.BaseEndpoint)
			(&recentlyCreated{createdAt: map[string]time.Time{}}).option(o)
		})),
		IAM:    iam.NewFromConfig(cfg, func(o *iam.Options) { o.BaseEndpoint = endpoint(s.Endpoints.IAM, o.BaseEndpoint) }),
		STS:    sts.NewFromConfig(cfg, func(o *sts.Options) { o.BaseEndpoint = endpoint(s.Endpoints.STS, o.BaseEndpoint) }),
		DLM:    dlm.NewFromConfig(cfg),
		Region: cfg.Region,
		Config: cfg,
	}
	c.S3 = s3.NewFromConfig(cfg, bucketowner.Require(c.AccountID), func(o *s3.Options) {
		o.BaseEndpoint = endpoint(s.Endpoints.S3, o.BaseEndpoint)
		o.UsePathStyle = s.S3UsePathStyle
	})
	c.identity = (&cachedIdentity{find: func() (identity, error) { return callerIdentity(context.WithoutCancel(ctx), c.STS) }}).get
	if len(s.AllowedAccountIDs) > 0 {
		return c, c.checkAccount(ctx, s.AllowedAccountIDs)
	}
	go func() { _, _ = c.identity() }() // AccountID returns the error
	return c, nil
}

// configurationError describes why there is no configuration. The SDK's error for a
// profile that does not exist ends without a reason.
func configurationError(diags diag.Diagnostics, profile string) error {
	var texts []string
	for _, d := range diags.Errors() {
		if strings.Contains(d.Summary()+d.Detail(), "failed to get shared config profile") {
			return fmt.Errorf("configure AWS: there is no profile %q in %s or %s; choose another, or create it with aws configure --profile %s", profile,
				cmp.Or(os.Getenv("AWS_CONFIG_FILE"), "~/.aws/config"), cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), "~/.aws/credentials"), profile)
		}
		texts = append(texts, strings.TrimSuffix(strings.TrimSpace(d.Summary()+": "+d.Detail()), ":"))
	}
	return fmt.Errorf("configure AWS: %s", strings.Join(texts, "; "))
}

func endpoint(given string, resolved *string) *string {
	if given != "" {
		return &given
	}
	return resolved
}

// logToTerraform puts the logger that aws-sdk-go-base writes the wire log to into
// the context of each call; without it nothing is logged.
func logToTerraform(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("XeroOpsLogger",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			ctx, logger := logging.NewTfLogger(ctx)
			return next.HandleInitialize(logging.RegisterLogger(ctx, logger), in)
		}), middleware.Before)
}

func (c *Client) checkAccount(ctx context.Context, allowed []string) error {
	account, err := c.AccountID(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(allowed, account) {
		return fmt.Errorf("configure AWS: the credentials belong to account %s, and allowed_account_ids allows %v; use other credentials or allow the account", account, allowed)
	}
	return nil
}
