// Package mototest starts a moto server for a test.
package mototest

import (
	"errors"
	"testing"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// Start starts a moto server that is stopped after the test. It skips the test if moto
// is not installed.
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
