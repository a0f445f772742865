// Package access connects an operator to a cluster: to its bucket with the
// operator's AWS credentials, and to its registry over the VPN, or over a command
// whose standard input and output are the connection. Only AWS is configured on the
// operator's machine; everything else is discovered.
package access

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/bucketowner"
	"github.com/xeroops/xeroops/internal/cluster"
)

// Settings are the operator's settings; each has a default.
type Settings struct {
	Cluster       string // default: the only one of the bucket
	UploadsBucket string // default: uploads- and the account id
	Region        string // default: the AWS configuration's
	Via           string // default: TCP
}

// ErrUnreachable marks errors of AWS or the registry being unreachable or refusing
// access.
var ErrUnreachable = errors.New("cluster is unreachable")

// Access is an operator's access to a cluster.
type Access struct {
	Cluster  string
	Bucket   string
	S3       *s3.Client
	Topology cluster.Topology
	// Operator is an AWS principal, shown as the author of changes.
	Operator string

	via string
}

// Open discovers the cluster. It changes nothing.
func Open(ctx context.Context, s Settings) (*Access, error) {
	var options []func(*config.LoadOptions) error
	if s.Region != "" {
		options = append(options, config.WithRegion(s.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("%w: configure AWS: %w", ErrUnreachable, err)
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("%w: no AWS region; set --region or AWS_REGION", ErrUnreachable)
	}
	a := &Access{Cluster: s.Cluster, Bucket: s.UploadsBucket, via: s.Via}
	account, err := a.identify(ctx, sts.NewFromConfig(cfg))
	if err != nil {
		return nil, err
	}
	a.S3 = s3.NewFromConfig(cfg, bucketowner.Require(bucketowner.Account(account)), func(o *s3.Options) {
		o.DisableLogOutputChecksumValidationSkipped = true
		// S3's answer to concurrent creates of an object, which has to be retried (S3 API
		// reference, PutObject, If-None-Match).
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, "ConditionalRequestConflict")
	})
	if err := a.findCluster(ctx); err != nil {
		return nil, err
	}
	content, err := a.Object(ctx, cluster.Layout{Cluster: a.Cluster}.Topology())
	if IsNotFound(err) {
		return nil, fmt.Errorf("%w: bucket %s has no cluster %q; set --cluster", ErrUnreachable, a.Bucket, a.Cluster)
	}
	if err == nil {
		err = json.Unmarshal(content, &a.Topology)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read the topology of cluster %s: %w", ErrUnreachable, a.Cluster, err)
	}
	return a, nil
}

// identify sets the operator's identity, and the bucket's name if none is set. It
// returns the account of the credentials, which has to own the bucket: no policy can
// deny GetCallerIdentity.
func (a *Access) identify(ctx context.Context, client *sts.Client) (account string, err error) {
	identity, err := client.GetCallerIdentity(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("%w: find the AWS account, which has to own the uploads bucket: %w; check your AWS credentials", ErrUnreachable, err)
	}
	// The resource: user/jane, or assumed-role/operators/jane.
	parts := strings.SplitN(aws.ToString(identity.Arn), ":", 6)
	a.Operator = parts[len(parts)-1]
	account = aws.ToString(identity.Account)
	a.Bucket = cmp.Or(a.Bucket, "uploads-"+account)
	return account, nil
}

// findCluster sets the cluster to the bucket's only one if none is set.
func (a *Access) findCluster(ctx context.Context) error {
	if a.Cluster != "" {
		return nil
	}
	const clusters = "clusters/"
	out, err := a.S3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &a.Bucket, Prefix: aws.String(clusters), Delimiter: aws.String("/")})
	if err != nil {
		return fmt.Errorf("%w: list clusters in bucket %s: %w; set --cluster, and --uploads-bucket if this is the wrong bucket", ErrUnreachable, a.Bucket, err)
	}
	var names []string
	for _, p := range out.CommonPrefixes {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), clusters), "/"))
	}
	if len(names) != 1 {
		return fmt.Errorf("%w: bucket %s has %d clusters %v; set --cluster", ErrUnreachable, a.Bucket, len(names), names)
	}
	a.Cluster = names[0]
	return nil
}

// Object reads an object of the uploads bucket.
func (a *Access) Object(ctx context.Context, key string) ([]byte, error) {
	out, err := a.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.Bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("read s3://%s/%s: %w", a.Bucket, key, err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, fmt.Errorf("read s3://%s/%s: %w", a.Bucket, key, err)
	}
	return content, nil
}

// IsNotFound reports whether an error of S3 says that an object does not exist.
// Without the permission to list the bucket, S3 returns AccessDenied instead.
func IsNotFound(err error) bool {
	return awswait.HasCode(err, "NoSuchKey", "NotFound")
}

// NodesOf returns the names of a role's nodes.
func (a *Access) NodesOf(role cluster.Role) []string {
	var names []string
	for _, n := range a.Topology.Nodes {
		if n.Role == role {
			names = append(names, n.Name)
		}
	}
	return names
}

// Reports returns the boot reports of those nodes that wrote one, by node.
func (a *Access) Reports(ctx context.Context) map[string]cluster.BootReport {
	reports := map[string]cluster.BootReport{}
	for _, n := range a.Topology.Nodes {
		content, err := a.Object(ctx, cluster.Layout{Cluster: a.Cluster}.Report(n.Name))
		var r cluster.BootReport
		if err == nil && json.Unmarshal(content, &r) == nil {
			reports[n.Name] = r
		}
	}
	return reports
}
