package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/bundle"
)

// ReadNodes returns the entries of the named nodes, without those that have none.
func ReadNodes(ctx context.Context, c *redis.Client, names []string) (map[string]Node, error) {
	if len(names) == 0 {
		return nil, nil
	}
	entries, problems, err := ReadEntries(ctx, c, names)
	if err == nil && len(problems) > 0 {
		err = problems[0]
	}
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// ReadEntries is like [ReadNodes], but reports entries that cannot be parsed as
// problems and returns the others.
func ReadEntries(ctx context.Context, c *redis.Client, names []string) (entries map[string]Node, problems []error, err error) {
	entries = map[string]Node{}
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = NodeKey(name)
	}
	// Without names, check that the registry can be read.
	if len(keys) == 0 {
		return entries, nil, c.Ping(ctx).Err()
	}
	found, err := c.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, nil, fmt.Errorf("read the entries of the nodes: %w", err)
	}
	for i, content := range found {
		text, exists := content.(string)
		if !exists {
			continue
		}
		n, err := parseNode(names[i], text)
		if err != nil {
			problems = append(problems, fmt.Errorf("read the entry of node %s: %w", names[i], err))
			continue
		}
		entries[names[i]] = n
	}
	return entries, problems, nil
}

// WriteNode writes a node's entry, and announces it on [TopologyChannel] if it
// changed.
func WriteNode(ctx context.Context, c *redis.Client, n Node, changed bool) error {
	content, err := json.Marshal(n)
	if err != nil {
		return err
	}
	_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, NodeKey(n.Name), content, Expiry)
		if changed {
			p.Publish(ctx, TopologyChannel, n.Name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the entry of node %s: %w", n.Name, err)
	}
	return nil
}

// HasNode reports whether a node has an entry.
func HasNode(ctx context.Context, c *redis.Client, name string) (bool, error) {
	n, err := c.Exists(ctx, NodeKey(name)).Result()
	if err != nil {
		return false, fmt.Errorf("check the entry of node %s: %w", name, err)
	}
	return n == 1, nil
}

// Check returns the first error in an application's entry.
func (a Application) Check() error {
	if err := bundle.CheckName(a.Name); err != nil {
		return err
	}
	if err := errors.Join(bundle.CheckRoute(a.Port, a.RoutePrefix, a.HealthPath), a.HealthRequest.Check(), bundle.Limits{Timeout: a.Timeout}.Check()); err != nil {
		return fmt.Errorf("application %s: %w", a.Name, err)
	}
	return nil
}
