package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// publishTries is the maximum number of attempts to write a desired version while
// other operators are writing one.
const publishTries = 5

// Publish makes d the desired version of an application and notifies the app nodes,
// in one transaction. It sets d.Previous to the version that a rollback returns to:
// the version that d replaces or, if no node could run that one, the version that
// it had replaced.
//
// The progress of d's version is reset: each app node reports it again, even if it
// already runs the version.
func Publish(ctx context.Context, c *redis.Client, application string, d Desired) (Desired, error) {
	message, err := json.Marshal(Deployment{Service: application, Version: d.Version, SHA256: d.SHA256})
	if err != nil {
		return d, err
	}
	key := DesiredKey(application)
	publish := func(tx *redis.Tx) error {
		var now Desired
		if err := tx.HGetAll(ctx, key).Scan(&now); err != nil {
			return err
		}
		failed, err := failedEverywhere(ctx, tx, application, now.Version)
		if err != nil {
			return err
		}
		if d.Previous = now.Previous; !failed && now.Version != d.Version {
			d.Previous = now.Version
		}
		if d.Previous == d.Version { // a rollback; the version before that is not known
			d.Previous = ""
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Del(ctx, ProgressKey(application, d.Version))
			p.HSet(ctx, key, d)
			p.SAdd(ctx, ApplicationsKey, application)
			p.Publish(ctx, DeploymentChannel, message)
			return nil
		})
		return err
	}
	for range publishTries {
		if err = c.Watch(ctx, publish, key); !errors.Is(err, redis.TxFailedErr) {
			break
		}
	}
	if err != nil {
		return d, fmt.Errorf("make version %s of %s the desired one: %w", d.Version, application, err)
	}
	return d, nil
}

// failedEverywhere reports whether all nodes that deployed a version have reported
// that they cannot run it. It is false if no progress was reported or the progress
// has expired.
func failedEverywhere(ctx context.Context, tx *redis.Tx, application, version string) (bool, error) {
	written, err := tx.HGetAll(ctx, ProgressKey(application, version)).Result()
	for _, content := range written {
		var p Progress
		if json.Unmarshal([]byte(content), &p) != nil || p.Phase != PhaseFailed {
			return false, err
		}
	}
	return len(written) > 0, err
}

// ReadDesired returns an application's desired version. Its Version is empty if
// there is none.
func ReadDesired(ctx context.Context, c *redis.Client, application string) (Desired, error) {
	var d Desired
	if err := c.HGetAll(ctx, DesiredKey(application)).Scan(&d); err != nil {
		return d, fmt.Errorf("read the desired version of %s: %w", application, err)
	}
	return d, nil
}

// ReadApplications returns the names of all applications that have a desired
// version, sorted.
func ReadApplications(ctx context.Context, c *redis.Client) ([]string, error) {
	names, err := c.SMembers(ctx, ApplicationsKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read the names of the applications: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// ReadProgress returns the nodes' progress with a version, by node.
func ReadProgress(ctx context.Context, c *redis.Client, application, version string) (map[string]Progress, error) {
	written, err := c.HGetAll(ctx, ProgressKey(application, version)).Result()
	if err != nil {
		return nil, fmt.Errorf("read the progress of %s %s: %w", application, version, err)
	}
	all := make(map[string]Progress, len(written))
	for node, content := range written {
		p, err := parseProgress(node, content)
		if err != nil {
			return nil, fmt.Errorf("read the progress of %s %s on %s: %w", application, version, node, err)
		}
		all[node] = p
	}
	return all, nil
}

// WriteProgress writes a node's progress with a version. The version's progress
// expires if nothing is written for the duration life.
func WriteProgress(ctx context.Context, c *redis.Client, application, version string, p Progress, life time.Duration) error {
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	key := ProgressKey(application, version)
	_, err = c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, key, p.Node, content)
		pipe.Expire(ctx, key, life)
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the progress of %s %s on %s: %w", application, version, p.Node, err)
	}
	return nil
}
