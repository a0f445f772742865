package cluster

import (
	"encoding/json"
	"maps"
	"sync"
	"time"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/cluster/clusterobject"
)

// privateStateKey is the key of the privateState in the resource's private state.
const privateStateKey = "objects"

// privateState is what is kept between runs besides the attributes.
type privateState struct {
	Written map[string]clusterobject.Record `json:"written"` // by key
	Reports map[string]knownReport          `json:"reports"` // by node
}

// knownReport is what a boot report said, so that it is read again only if it
// changed.
type knownReport struct {
	ETag       string          `json:"etag"`
	InstanceID string          `json:"instance_id"`
	BootID     string          `json:"boot_id"`
	State      model.BootState `json:"state"`
	StartedAt  time.Time       `json:"started_at"`
}

// privateState returns the private state to save.
func (op *operation) privateState() []byte {
	out, err := json.Marshal(privateState{op.objects.Records(), op.reports.all()})
	if err != nil {
		panic(err) // maps of strings
	}
	return out
}

// setPrivateState restores the private state of the run before.
func (op *operation) setPrivateState(saved []byte) {
	var state privateState
	// Nothing, or what a later version wrote: all objects are then written again.
	_ = json.Unmarshal(saved, &state)
	op.objects.SetRecords(state.Written)
	op.reports.set(state.Reports)
}

// reportCache holds what is known of boot reports, by node. It is safe for
// concurrent use.
type reportCache struct {
	mu         sync.Mutex
	byNode     map[string]knownReport
	formerBoot map[string]string // boot ids whose reports do not count
	unreadable map[string]error
}

func newReportCache() *reportCache {
	return &reportCache{byNode: map[string]knownReport{}, formerBoot: map[string]string{}, unreadable: map[string]error{}}
}

func (c *reportCache) all() map[string]knownReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byNode)
}

func (c *reportCache) set(reports map[string]knownReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.byNode, reports)
}

func (c *reportCache) add(node string, r knownReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byNode[node] = r
}

// isReady reports whether the report with that ETag is known and says that the
// instance is ready.
func (c *reportCache) isReady(node, etag string, i instance) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.byNode[node]
	return etag != "" && known.ETag == etag && known.State == model.BootReady && known.isOf(i)
}

func (c *reportCache) setFormerBoot(node, bootID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.formerBoot[node] = bootID
}

func (c *reportCache) isFormerBoot(node, bootID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	former, ended := c.formerBoot[node]
	return ended && former == bootID
}

// setUnreadable records why a node's report cannot be read, or that it can.
func (c *reportCache) setUnreadable(node string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.unreadable, node)
	if err != nil {
		c.unreadable[node] = err
	}
}

func (c *reportCache) allUnreadable() map[string]error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.unreadable)
}
