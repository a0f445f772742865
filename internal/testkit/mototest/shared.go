package mototest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

// shared is the server of this test binary, which starts at the first use.
var shared = struct {
	sync.Mutex
	server *moto.Server
	err    error
}{}

// Shared returns a moto server that all tests of a package share. Content of earlier
// tests is still in it. It skips the test if moto is not installed. The package's
// TestMain has to call [Main].
func Shared(t testing.TB) *moto.Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = moto.Start(context.Background(), moto.Options{})
	}
	if errors.Is(shared.err, moto.ErrMissing) {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Empty returns the server of [Shared] after it has deleted everything in the account
// except the seeded images.
func Empty(t testing.TB) *moto.Server {
	t.Helper()
	server := Shared(t)
	if err := server.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server
}

// Main runs a package's tests, stops the server of [Shared] if one of them has started
// it, and returns the exit status.
func Main(m *testing.M) int {
	defer func() {
		if shared.server != nil {
			shared.server.Stop()
		}
	}()
	return m.Run()
}
