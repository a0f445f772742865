package instance

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/bucketowner"
)

// metadataEndpoint is the same in every region. It is passed to the SDK so that no
// environment variable can override it.
const metadataEndpoint = "http://169.254.169.254"

// Identity is the instance's identity according to the metadata service.
type Identity struct {
	InstanceID, ImageID, Region, Address string
}

// Metadata returns a client of the metadata service, version 2 only: without a token its
// requests fail.
func Metadata(options ...func(*imds.Options)) *imds.Client {
	return imds.New(imds.Options{Endpoint: metadataEndpoint, EnableFallback: aws.FalseTernary, ClientEnableState: imds.ClientEnabled}, options...)
}

// Identify returns the instance's identity. It is an error if that differs from
// instance.env, since the node would act in place of another one.
func (i Instance) Identify(ctx context.Context, metadata *imds.Client) (Identity, error) {
	out, err := metadata.GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return Identity{}, fmt.Errorf("get the instance identity from the metadata service: %w", err)
	}
	identity := Identity{InstanceID: out.InstanceID, ImageID: out.ImageID, Region: out.Region, Address: out.PrivateIP}
	if identity.Region != i.Region || identity.Address != i.Address {
		return identity, fmt.Errorf("instance.env is for a node at %s in %s, but instance %s is at %s in %s; launch the instance again with its own user data",
			i.Address, i.Region, identity.InstanceID, identity.Address, identity.Region)
	}
	return identity, nil
}

// S3 returns a client with the credentials of the instance's role, which it gets from the
// metadata service only and renews before they expire. The first request fetches them, and
// the account that has to own the buckets.
func (i Instance) S3() *s3.Client { return i.S3By(Metadata()) }

// S3By is [Instance.S3] with an existing metadata client.
func (i Instance) S3By(metadata *imds.Client, options ...func(*s3.Options)) *s3.Client {
	role := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = metadata })
	owner := func(ctx context.Context) (string, error) {
		out, err := metadata.GetInstanceIdentityDocument(ctx, nil)
		if err != nil {
			return "", fmt.Errorf("get the instance identity from the metadata service: %w", err)
		}
		return out.AccountID, nil
	}
	return s3.New(s3.Options{
		Region: i.Region,
		// The clock may be wrong by minutes until chrony has set it.
		Credentials: aws.NewCredentialsCache(role, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute }),
		// The SDK's default of 20 s exceeds most outages; callers retry anyway.
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Second }),
		// The gateway endpoint is in the same region, and callers retry.
		HTTPClient: awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = 5 * time.Second }),
	}, append(options, bucketowner.Require(owner))...)
}
