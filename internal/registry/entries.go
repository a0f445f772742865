package registry

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/bundle"
)

// ReadNodes returns the entries of those of the named nodes that have one.
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

// ReadEntries is [ReadNodes] for who can do without some of them: an entry
// that can't be read is a problem and no error.
func ReadEntries(ctx context.Context, c *redis.Client, names []string) (entries map[string]Node, problems []error, err error) {
	entries = map[string]Node{}
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = NodeKey(name)
	}
	// An empty registry is read, too: whether it can be is what counts.
	if len(keys) == 0 {
		return entries, nil, c.Ping(ctx).Err()
	}
	found, err := c.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, nil, fmt.Errorf("read the entries of the nodes: %w", err)
	}
	for i, content := range found {
		text, there := content.(string)
		if !there {
			continue
		}
		var n Node
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			problems = append(problems, fmt.Errorf("read the entry of node %s: %w", names[i], err))
			continue
		}
		entries[names[i]] = n
	}
	return entries, problems, nil
}

// WriteNode writes a node's entry, and says so on [TopologyChannel] if it is news.
func WriteNode(ctx context.Context, c *redis.Client, n Node, news bool) error {
	content, err := json.Marshal(n)
	if err != nil {
		return err
	}
	_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, NodeKey(n.Name), content, Expiry)
		if news {
			p.Publish(ctx, TopologyChannel, n.Name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the entry of node %s: %w", n.Name, err)
	}
	return nil
}

// HasNode says whether a node has an entry.
func HasNode(ctx context.Context, c *redis.Client, name string) (bool, error) {
	n, err := c.Exists(ctx, NodeKey(name)).Result()
	if err != nil {
		return false, fmt.Errorf("look for the entry of node %s: %w", name, err)
	}
	return n == 1, nil
}

// Check returns the first thing that is wrong with an application's entry.
func (a Application) Check() error {
	if err := bundle.CheckName(a.Name); err != nil {
		return err
	}
	if err := bundle.CheckRoute(a.Port, a.RoutePrefix, a.HealthPath); err != nil {
		return fmt.Errorf("application %s: %w", a.Name, err)
	}
	return nil
}
