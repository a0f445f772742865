// Package mototest gives tests a moto of their own.
package mototest

import (
	"errors"
	"testing"

	"github.com/xeroops/xeroops/internal/motoserver"
)

// Start starts a moto that ends with the test. Where it can't run, the test is
// skipped, and says why.
func Start(t testing.TB, o motoserver.Options) *motoserver.Server {
	t.Helper()
	moto, err := motoserver.Start(t.Context(), o)
	if errors.Is(err, motoserver.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(moto.Stop)
	return moto
}
