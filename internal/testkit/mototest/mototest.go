// Package mototest gives tests a moto of their own.
package mototest

import (
	"errors"
	"testing"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// Start starts a moto that ends with the test. Where it can't run, the test is
// skipped, and says why.
func Start(t testing.TB, o moto.Options) *moto.Server {
	t.Helper()
	server, err := moto.Start(t.Context(), o)
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}
