package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/pep"
)

// Python is what an image offers to applications. A bundle leaves out what the
// image has.
type Python struct {
	Version       pep.Python               `json:"version"`
	Platform      pep.Platform             `json:"platform"`
	Distributions map[pep.Name]pep.Version `json:"distributions"`
}

// Errors of [ReadPython].
var (
	ErrNoPython      = errors.New("no app node has reported the Python of its image")
	ErrPythonsDiffer = errors.New("the app nodes' images differ")
)

// maxPythonBytes bounds one node's entry; an image with 1,000 distributions has
// 40 kB.
const maxPythonBytes = 1 << 20

// ReadPython returns what the images of all named nodes offer. The names must be
// those of the topology's app nodes, so that entries of others are ignored.
func ReadPython(ctx context.Context, c *redis.Client, appNodes []string) (Python, error) {
	if len(appNodes) == 0 {
		return Python{}, ErrNoPython
	}
	keys := make([]string, len(appNodes))
	for i, node := range appNodes {
		keys[i] = PythonKey(node)
	}
	found, err := c.MGet(ctx, keys...).Result()
	if err != nil {
		return Python{}, fmt.Errorf("read the Python of the app nodes' images: %w", err)
	}
	var all Python
	for i, content := range found {
		text, exists := content.(string)
		if !exists {
			continue
		}
		one, err := parsePython(text)
		if err == nil && all.Version == "" {
			all = one
		} else if err == nil {
			all, err = all.common(one)
		}
		if err != nil {
			return Python{}, fmt.Errorf("read the Python that node %s reported: %w", appNodes[i], err)
		}
	}
	if all.Version == "" {
		return Python{}, ErrNoPython
	}
	return all, nil
}

func parsePython(text string) (Python, error) {
	if len(text) > maxPythonBytes {
		return Python{}, fmt.Errorf("it has %d bytes, more than the limit of %d", len(text), maxPythonBytes)
	}
	var p Python
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return Python{}, err
	}
	if p.Version == "" || p.Platform == "" {
		return Python{}, errors.New("it has no version or no platform")
	}
	for name, version := range p.Distributions {
		if version == "" { // JSON's null is not parsed
			return Python{}, fmt.Errorf("distribution %s has no version", name)
		}
	}
	return p, nil
}

// common returns what p and other both offer. While images are replaced, nodes
// differ, and a bundle has to run on all of them.
func (p Python) common(other Python) (Python, error) {
	if p.Version != other.Version || p.Platform.Machine() != other.Platform.Machine() {
		return Python{}, fmt.Errorf("%w: Python %s on %s, another node has %s on %s; wait until all run one image",
			ErrPythonsDiffer, other.Version, other.Platform, p.Version, p.Platform)
	}
	both := Python{Version: p.Version, Platform: p.Platform.Older(other.Platform), Distributions: maps.Clone(p.Distributions)}
	maps.DeleteFunc(both.Distributions, func(name pep.Name, version pep.Version) bool { return other.Distributions[name] != version })
	return both, nil
}

// WritePython writes what the image of an app node offers to applications.
func WritePython(ctx context.Context, c *redis.Client, node string, p Python) error {
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := c.Set(ctx, PythonKey(node), content, 0).Err(); err != nil {
		return fmt.Errorf("write the Python of the image of node %s: %w", node, err)
	}
	return nil
}
