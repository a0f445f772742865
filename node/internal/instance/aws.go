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
)

// metadataEndpoint is the same in every region. It is given to the SDK so that
// no environment variable can name another.
const metadataEndpoint = "http://169.254.169.254"

// Identity is what the metadata service says of the instance.
type Identity struct {
	InstanceID, ImageID, Region, Address string
}

// Metadata returns a client of the metadata service that speaks version 2 only:
// without a token it gives up rather than ask unprotected.
func Metadata(options ...func(*imds.Options)) *imds.Client {
	return imds.New(imds.Options{Endpoint: metadataEndpoint, EnableFallback: aws.FalseTernary, ClientEnableState: imds.ClientEnabled}, options...)
}

// Identify asks the metadata service who this machine is, and fails where that
// is not who instance.env says: such a node would act on another's behalf.
func (i Instance) Identify(ctx context.Context, metadata *imds.Client) (Identity, error) {
	out, err := metadata.GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return Identity{}, fmt.Errorf("ask the metadata service who this instance is: %w", err)
	}
	is := Identity{InstanceID: out.InstanceID, ImageID: out.ImageID, Region: out.Region, Address: out.PrivateIP}
	if is.Region != i.Region || is.Address != i.Address {
		return is, fmt.Errorf("instance.env is of a node at %s in %s, but the metadata service says that instance %s is at %s in %s; launch the instance again with its own user data",
			i.Address, i.Region, is.InstanceID, is.Address, is.Region)
	}
	return is, nil
}

// S3 returns a client with the credentials of the instance's role, from the
// metadata service and nowhere else; they are renewed before they expire. The
// first request fetches them, so a metadata service that is away fails that,
// not this.
func (i Instance) S3() *s3.Client { return i.S3By(Metadata()) }

// S3By is [Instance.S3] with a metadata client that is there already.
func (i Instance) S3By(metadata *imds.Client, options ...func(*s3.Options)) *s3.Client {
	role := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = metadata })
	return s3.New(s3.Options{
		Region: i.Region,
		// Five minutes, as a node's clock may be off before chrony has set it.
		Credentials: aws.NewCredentialsCache(role, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute }),
		// The SDK's pauses of up to 20 s would outlast what they wait for.
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Second }),
		// Five seconds: the gateway endpoint is in the same region, and who waits
		// tries again.
		HTTPClient: awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = 5 * time.Second }),
	}, options...)
}
