// Package account provides an AWS account for a test or benchmark: a moto server
// and a fakeaws.Front.
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

// Region is the region of all tests.
const Region = "eu-west-1"

// Account is a running moto server and Front.
type Account struct {
	Moto  *moto.Server
	Front *fakeaws.Front
}

// Start starts moto and a front with the given fixups and those of o. The error is
// moto.ErrMissing if there is no moto.
func Start(ctx context.Context, o fixups.Options, first ...fakeaws.Fixup) (*Account, error) {
	moto, err := moto.Start(ctx, moto.Options{})
	if err != nil {
		return nil, err
	}
	front, err := fakeaws.Start(fakeaws.Options{Upstream: moto.URL, Fixups: append(first, fixups.All(o)...)})
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

// Reset deletes everything in the account, and clears the Front's log and faults.
func (a *Account) Reset(ctx context.Context) error {
	a.Front.Reset()
	a.Front.SetLatency(0)
	return a.Moto.Reset(ctx)
}

// Direct returns a configuration for clients of moto itself. Their calls are not in
// the Front's log and not subject to its faults.
func (a *Account) Direct() aws.Config { return inventory.Config(a.Moto.URL, Region) }

// Items returns the content of the account.
func (a *Account) Items(ctx context.Context) ([]inventory.Item, error) {
	return inventory.List(ctx, a.Direct())
}

// Environment returns the environment variables with which a process uses the
// account and ignores the caller's own AWS configuration.
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
