package awsclient

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/singleflight"
)

type identity struct {
	account, partition string
}

// cachedIdentity keeps an identity after the first success. Concurrent callers share
// one call, and its error; a later caller asks again.
type cachedIdentity struct {
	find  func() (identity, error)
	calls singleflight.Group
	mu    sync.Mutex
	found identity
}

func (c *cachedIdentity) get() (identity, error) {
	who, err, _ := c.calls.Do("", func() (any, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.found != (identity{}) {
			return c.found, nil
		}
		who, err := c.find()
		if err == nil {
			c.found = who
		}
		return who, err
	})
	return who.(identity), err
}

// AccountID returns the account that the credentials belong to.
func (c *Client) AccountID(_ context.Context) (string, error) {
	who, err := c.identity()
	return who.account, err
}

// Partition returns the partition of the account: aws, aws-cn or aws-us-gov.
func (c *Client) Partition(_ context.Context) (string, error) {
	who, err := c.identity()
	return who.partition, err
}

func callerIdentity(ctx context.Context, client *sts.Client) (identity, error) {
	out, err := client.GetCallerIdentity(ctx, nil)
	if err != nil {
		return identity{}, fmt.Errorf("find the account of the AWS credentials: %w", err)
	}
	parsed, err := arn.Parse(aws.ToString(out.Arn))
	if err != nil {
		return identity{}, fmt.Errorf("find the account of the AWS credentials: %w", err)
	}
	return identity{account: aws.ToString(out.Account), partition: parsed.Partition}, nil
}
