package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// RoutesKey is the key of the [Routes] that are in effect.
const RoutesKey = "xeroops:routes"

// maxRoutesBytes bounds the routes: those of 100 applications on 500 nodes have 1 MB.
const maxRoutesBytes = 8 << 20

// Routes are the routes of HAProxy by application. Routing writes them, so that a
// deployment can wait until it gets requests.
type Routes map[string]Route

// Route is how requests reach an application.
type Route struct {
	Prefixes []string `json:"prefixes"`
	// Ports are the ports of the servers that HAProxy considers up, by node.
	Ports map[string]int `json:"ports"`
}

// Has reports whether requests below a prefix reach a node's port.
func (r Routes) Has(application, prefix, node string, port int) bool {
	route := r[application]
	return slices.Contains(route.Prefixes, prefix) && route.Ports[node] == port
}

// WriteRoutes writes the routes that are in effect.
func WriteRoutes(ctx context.Context, c *redis.Client, r Routes) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := c.Set(ctx, RoutesKey, content, 0).Err(); err != nil {
		return fmt.Errorf("write the routes in effect: %w", err)
	}
	return nil
}

// ReadRoutes returns the routes that are in effect. known is false if routing has written
// none, as in a cluster whose management node has an older image.
func ReadRoutes(ctx context.Context, c *redis.Client) (routes Routes, known bool, err error) {
	text, err := c.Get(ctx, RoutesKey).Result()
	if errors.Is(err, redis.Nil) || err != nil && strings.HasPrefix(err.Error(), "NOPERM") {
		return nil, false, nil
	}
	if err == nil {
		if len(text) > maxRoutesBytes {
			err = fmt.Errorf("they have %d bytes, more than the limit of %d", len(text), maxRoutesBytes)
		} else {
			err = json.Unmarshal([]byte(text), &routes)
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the routes in effect: %w", err)
	}
	return routes, true, nil
}
