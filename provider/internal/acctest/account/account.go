// Package account is an AWS account for a test or a benchmark: a moto_server
// of its own and a front before it.
package account

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/xeroops/xeroops/internal/awsfront"
	"github.com/xeroops/xeroops/internal/awsfront/inventory"
	"github.com/xeroops/xeroops/internal/awsfront/mend"
	"github.com/xeroops/xeroops/internal/motoserver"
)

// Region is where everything works.
const Region = "eu-west-1"

// Account is a running moto and front.
type Account struct {
	Moto  *motoserver.Server
	Front *awsfront.Front
}

// Start starts both, with the front's mends as o says; an error is motoserver.ErrMissing where there is no moto.
func Start(ctx context.Context, o mend.Options) (*Account, error) {
	moto, err := motoserver.Start(ctx, motoserver.Options{})
	if err != nil {
		return nil, err
	}
	front, err := awsfront.Start(awsfront.Options{Upstream: moto.URL, Mends: mend.All(o)})
	if err != nil {
		moto.Stop()
		return nil, err
	}
	return &Account{Moto: moto, Front: front}, nil
}

// Close stops both.
func (a *Account) Close() {
	_ = a.Front.Close()
	a.Moto.Stop()
}

// Reset empties the account and makes the front forget calls and faults.
func (a *Account) Reset(ctx context.Context) error {
	a.Front.Reset()
	a.Front.SetLatency(0)
	return a.Moto.Reset(ctx)
}

// Direct is the configuration of clients that go straight to moto: what they
// do is not in the front's log, nor hit by its faults.
func (a *Account) Direct() aws.Config { return inventory.Config(a.Moto.URL, Region) }

// Items lists what the account holds.
func (a *Account) Items(ctx context.Context) ([]inventory.Item, error) {
	return inventory.List(ctx, a.Direct())
}

// Environment returns what a process needs to work in the account, and nothing
// of the caller's own AWS configuration.
func (a *Account) Environment() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL":            a.Front.URL,
		"AWS_REGION":                  Region,
		"AWS_ACCESS_KEY_ID":           "test",
		"AWS_SECRET_ACCESS_KEY":       "test",
		"AWS_SESSION_TOKEN":           "",
		"AWS_PROFILE":                 "",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_EC2_METADATA_DISABLED":   "true",
	}
}
