//go:build linux

package registrytest

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/registry"
)

// Publishing a version is a transaction.
func TestTransactionOutlivesAKill(t *testing.T) {
	s := Start(t, "127.0.61.1")
	published, err := registry.Publish(t.Context(), s.As(registry.UserDeploy), "notes", registry.Desired{Version: "1.0.0", SHA256: "sum"})
	if err != nil {
		t.Fatal(err)
	}
	// Once this write is on the disk, so is the one before.
	admin := s.As(registry.UserAdmin).Conn()
	defer admin.Close()
	if err := admin.Set(t.Context(), "last", "", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if synced, err := admin.WaitAOF(t.Context(), 1, 0, 2*time.Second).Result(); err != nil || len(synced) == 0 || synced[0] != 1 {
		t.Fatalf("WaitAOF() = %v, %v; want one synced file", synced, err)
	}
	s.Kill()
	s.Restart()
	if got, err := registry.ReadDesired(t.Context(), s.As(registry.UserDeploy), "notes"); err != nil || got != published {
		t.Errorf("after a kill the desired version is %+v, %v; want %+v", got, err, published)
	}
}

func TestUserDefaultIsDisabled(t *testing.T) {
	s := Start(t, "127.0.61.2")
	for _, password := range []string{"", "x", Password(registry.UserAdmin)} {
		c := redis.NewClient(&redis.Options{Addr: s.Address, Username: "default", Password: password, DisableIdentity: true})
		if err := c.Get(t.Context(), "x").Err(); err == nil || errors.Is(err, redis.Nil) {
			t.Errorf("default with password %q: %v, want an authentication error", password, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
