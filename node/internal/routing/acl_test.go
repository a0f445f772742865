//go:build linux

package routing

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/registrytest"
)

// The ACL of a management node, checked with Debian's Redis.
func TestUsersOfTheRegistryHaveOnlyThePermissionsTheyNeed(t *testing.T) {
	r := registrytest.Start(t, "127.0.98.1")
	allowed := map[string][]string{
		registry.UserNode: {"PING", "SET xeroops:node:app1 x EX 90", "GET xeroops:node:app1", "MGET xeroops:node:app1 xeroops:node:app2", "EXISTS xeroops:node:app1",
			"PUBLISH xeroops:topology app1", "HGETALL xeroops:deploy:shop", "SMEMBERS xeroops:applications", "HSET xeroops:deploy:shop:1.0 app1 {}",
			"EXPIRE xeroops:deploy:shop:1.0 60", "SET xeroops:python:app1 {}", "SET xeroops:routes {}", "SUBSCRIBE deployment-channel xeroops:topology"},
		registry.UserApp: {"PING", "SET app:cart:1 x EX 60", "INCR app:hits", "LPUSH app:queue x", "BRPOP app:queue 1", "XADD app:stream * a b", "PUBLISH app:news x",
			"HSET app:h a b", "ZADD app:z 1 a", "EXPIRE app:h 60", "DEL app:h", "EVAL return(redis.call('get',KEYS[1])) 1 app:hits", "PSUBSCRIBE app:*"},
		registry.UserDeploy: {"PING", "GET xeroops:node:app1", "MGET xeroops:node:app1", "SCAN 0 MATCH xeroops:node:*", "WATCH xeroops:deploy:shop",
			"HSET xeroops:deploy:shop version 1.0", "HGETALL xeroops:deploy:shop", "DEL xeroops:deploy:shop:1.0", "SADD xeroops:applications shop", "SMEMBERS xeroops:applications",
			"GET xeroops:python:app1", "GET xeroops:routes", "PUBLISH deployment-channel {}", "SUBSCRIBE xeroops:topology"},
		registry.UserStatus: {"PING", "MGET xeroops:node:app1 xeroops:node:app2", "HGETALL xeroops:deploy:shop", "SMEMBERS xeroops:applications"},
		registry.UserAdmin:  {"INFO", "CONFIG GET maxmemory", "KEYS *", "ACL LIST", "CLIENT LIST", "SET anything x", "DEL anything"},
	}
	deniedToAll := []string{"CONFIG SET dir /tmp", "FLUSHALL", "FLUSHDB", "KEYS *", "SHUTDOWN", "ACL SETUSER x on", "ACL LIST", "MONITOR",
		"MODULE LIST", "REPLICAOF 192.0.2.1 6379", "SAVE", "CLIENT KILL TYPE normal", "SCRIPT FLUSH", "FUNCTION FLUSH", "SWAPDB 0 1", "INFO"}
	denied := map[string][]string{
		registry.UserNode: {"HSET xeroops:deploy:shop version 2.0", "DEL xeroops:deploy:shop", "SADD xeroops:applications x", "GET app:cart:1", "SET app:cart:1 x", "SET other x",
			"PUBLISH app:news x", "SUBSCRIBE app:news", "EVAL return(1) 0", "SCAN 0"},
		registry.UserApp: {"GET xeroops:node:app1", "SET xeroops:node:app1 x", "HGETALL xeroops:deploy:shop", "SET other x", "PUBLISH xeroops:topology x", "PUBLISH deployment-channel x",
			"SUBSCRIBE deployment-channel", "PSUBSCRIBE *", "EVAL return(redis.call('get','xeroops:node:app1')) 0", "RENAME app:hits other", "COPY app:hits other", "SCAN 0", "FUNCTION LOAD x"},
		registry.UserDeploy: {"SET xeroops:node:app1 x", "DEL xeroops:node:app1", "GET app:cart:1", "SET other x", "PUBLISH app:news x", "SET xeroops:python:app1 x", "SET xeroops:routes x", "EVAL return(1) 0"},
	}
	denied[registry.UserStatus] = append(slices.Clone(denied[registry.UserDeploy]),
		"HSET xeroops:deploy:shop version 2.0", "DEL xeroops:deploy:shop", "WATCH xeroops:deploy:shop", "SADD xeroops:applications x", "SREM xeroops:applications shop", "EXPIRE xeroops:deploy:shop 1", "SET xeroops:node:app1 x EX 90", "PUBLISH xeroops:topology x",
		"PUBLISH deployment-channel {}", "SUBSCRIBE deployment-channel", "GET xeroops:python:app1", "SCAN 0", "MULTI")
	for _, user := range []string{registry.UserNode, registry.UserApp, registry.UserDeploy, registry.UserStatus} {
		denied[user] = append(denied[user], deniedToAll...)
	}
	for user, commands := range allowed {
		for _, command := range commands {
			if err := send(t, r, user, command); err != nil && !errors.Is(err, redis.Nil) {
				t.Errorf("%s as user %s: %v, want it allowed", command, user, err)
			}
		}
	}
	for user, commands := range denied {
		for _, command := range commands {
			if err := send(t, r, user, command); err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "ermission") {
				t.Errorf("%s as user %s: %v, want it denied", command, user, err)
			}
		}
	}
}

func TestRegistryRequiresAPassword(t *testing.T) {
	r := registrytest.Start(t, "127.0.98.2")
	for user, password := range map[string]string{"": "", "default": "", registry.UserNode: "wrong", registry.UserAdmin: ""} {
		c := redis.NewClient(&redis.Options{Addr: r.Address, Username: user, Password: password, DisableIdentity: true, MaxRetries: -1})
		if err := c.Ping(t.Context()).Err(); err == nil {
			t.Errorf("user %q is accepted with password %q", user, password)
		}
		_ = c.Close()
	}
}

// send sends a command on a new connection.
func send(t *testing.T, r *registrytest.Server, user, command string) error {
	t.Helper()
	conn := r.As(user).Conn()
	defer func() { _ = conn.Close() }()
	var args []any
	for _, arg := range strings.Fields(command) {
		args = append(args, arg)
	}
	return conn.Do(t.Context(), args...).Err()
}
