// Package account is an AWS account for a test or a benchmark: a moto_server
// of its own and a front before it.
package account

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// Region is where everything works.
const Region = "eu-west-1"

// Account is a running moto and front.
type Account struct {
	Moto  *moto.Server
	Front *fakeaws.Front
}

// Start starts moto and a front with the fixups of o. The error is moto.ErrMissing
// if there is no moto.
func Start(ctx context.Context, o fixups.Options) (*Account, error) {
	moto, err := moto.Start(ctx, moto.Options{})
	if err != nil {
		return nil, err
	}
	front, err := fakeaws.Start(fakeaws.Options{Upstream: moto.URL, Fixups: fixups.All(o)})
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
