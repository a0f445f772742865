package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/awswait"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// privateObjects is the key of the objectMemory in the resource's private state.
const privateObjects = "objects"

// objectMemory remembers what was written to S3, so that a listing alone tells
// whether somebody changed it: an ETag is comparable, but not computable where
// the bucket encrypts with KMS.
type objectMemory struct {
	mu      sync.Mutex
	written map[string]writtenObject
	reports map[string]knownReport // by node
}

// knownReport is what a boot report said, so that one that is as it was need
// not be read again.
type knownReport struct {
	ETag       string          `json:"etag"`
	InstanceID string          `json:"instance_id"`
	State      model.BootState `json:"state"`
	StartedAt  time.Time       `json:"started_at"`
}

// remembered is how an objectMemory is kept.
type remembered struct {
	Written map[string]writtenObject `json:"written"`
	Reports map[string]knownReport   `json:"reports"`
}

// writtenObject is what is remembered of an object. Of credentials that is the
// ETag alone. It may be their MD5, which gives nothing away: each of them holds
// a random password of 256 bits.
type writtenObject struct {
	ETag   string `json:"etag"`
	SHA256 string `json:"sha256,omitempty"` // of the content
}

func newObjectMemory() *objectMemory {
	return &objectMemory{written: map[string]writtenObject{}, reports: map[string]knownReport{}}
}

func (m *objectMemory) remember() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	out, err := json.Marshal(remembered{m.written, m.reports})
	if err != nil {
		panic(err) // maps of strings
	}
	return out
}

func (m *objectMemory) recall(private []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := remembered{m.written, m.reports}
	// Nothing, or what a later version wrote: everything is then written anew.
	_ = json.Unmarshal(private, &kept)
}

// unchanged says whether S3 still holds what was written, and whether that is
// this content.
func (m *objectMemory) unchanged(key, etag, content string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, known := m.written[key]
	return known && etag != "" && w.ETag == etag && w.SHA256 == digest(content)
}

// forget drops what is not written any more.
func (m *objectMemory) forget(keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.written, key)
	}
}

func (m *objectMemory) noteReport(node string, r knownReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reports[node] = r
}

// isReady says whether the report with that ETag is known to say that the
// instance is ready.
func (m *objectMemory) isReady(node, etag string, i instance) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.reports[node]
	return etag != "" && known.ETag == etag && known.State == model.BootReady && known.isOf(i)
}

func (m *objectMemory) note(key, etag, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written[key] = writtenObject{ETag: etag, SHA256: digest(content)}
}

// noteSecret remembers what was written, but nothing of its content.
func (m *objectMemory) noteSecret(key, etag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written[key] = writtenObject{ETag: etag}
}

// etagOf returns the ETag of what was written, or "".
func (m *objectMemory) etagOf(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.written[key].ETag
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// ensureObjects writes topology, settings and credentials, and removes settings
// of nodes that are gone. Credentials come first in thought: the gateway's
// public key, which is in the topology, is made with them.
func (w *work) ensureObjects(ctx context.Context) error {
	if err := w.restoreCredentials(ctx); err != nil {
		return err
	}
	credentials, err := w.wantedCredentials(ctx)
	if err != nil {
		return err
	}
	open, err := w.openObjects()
	if err != nil {
		return err
	}
	var steps []base.Step
	for key, content := range credentials {
		steps = append(steps, func(ctx context.Context) error {
			etag, err := w.put(ctx, key, content, "text/plain")
			if err == nil {
				w.objects.noteSecret(key, etag)
			}
			return err
		})
	}
	for key, content := range open {
		if w.objects.unchanged(key, w.seen.objects[key], content) {
			continue
		}
		steps = append(steps, func(ctx context.Context) error {
			etag, err := w.put(ctx, key, content, contentType(key))
			if err == nil {
				w.objects.note(key, etag, content)
			}
			return err
		})
	}
	steps = append(steps, func(ctx context.Context) error { return w.removeStale(ctx, open) })
	return base.ParallelAll(ctx, steps...)
}

func contentType(key string) string {
	if strings.HasSuffix(key, ".json") {
		return "application/json"
	}
	return "text/plain"
}

// openObjects are the objects without secrets, by key.
func (w *work) openObjects() (map[string]string, error) {
	layout := w.layout()
	topology, err := w.topology()
	if err != nil {
		return nil, err
	}
	open := map[string]string{layout.Topology(): topology}
	for _, n := range w.spec.nodes() {
		config, err := w.instanceConfig(n)
		if err != nil {
			return nil, fmt.Errorf("settings of node %s: %w", n.Name, err)
		}
		open[layout.InstanceConfig(n.Name)] = config
	}
	return open, nil
}

func (w *work) topology() (string, error) {
	t := model.Topology{Schema: model.TopologySchema, Cluster: w.spec.Name,
		VPN: model.VPN{CIDR: w.spec.VPNCIDR, Endpoint: w.vpnEndpoint(), PublicKey: w.vpnPublicKey, Routes: []string{w.seen.vpcCIDR}}}
	for _, n := range w.spec.nodes() {
		t.Nodes = append(t.Nodes, model.TopologyNode{Name: n.Name, Role: n.Role, Address: n.Address})
	}
	out, err := json.MarshalIndent(t, "", "  ")
	return string(out) + "\n", err
}

// instanceConfig is a node's environment: the customer's settings, and where
// things are. The cluster's own names win.
func (w *work) instanceConfig(n nodeSpec) (string, error) {
	vars := maps.Clone(w.spec.Settings)
	if vars == nil {
		vars = map[string]string{}
	}
	maps.Copy(vars, map[string]string{
		"XEROOPS_NODE":          n.Name,
		"XEROOPS_VPN_CIDR":      w.spec.VPNCIDR,
		"XEROOPS_PGDUMP_BUCKET": w.spec.Buckets.PGDump,
		"XEROOPS_WALG_BUCKET":   w.spec.Buckets.WALG,
		"XEROOPS_LOGS_BUCKET":   w.spec.Buckets.Logs,
	})
	if n.VolumeID != "" {
		vars["XEROOPS_DATA_VOLUME"] = n.VolumeID
	}
	for _, m := range w.spec.nodesOf(model.RoleManagement) {
		vars["XEROOPS_MANAGEMENT_ADDRESS"] = m.Address
	}
	return envfile.Format(vars)
}

// put writes an object and returns its ETag.
func (w *work) put(ctx context.Context, key, content, kind string) (string, error) {
	out, err := awswait.Retry(ctx, awswait.BucketConflict, isBucketNotVisible, func(ctx context.Context) (*s3.PutObjectOutput, error) {
		return w.Client.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &w.spec.Buckets.Uploads, Key: &key,
			Body: bytes.NewReader([]byte(content)), ContentType: &kind})
	})
	if err != nil {
		return "", fmt.Errorf("write s3://%s/%s: %w", w.spec.Buckets.Uploads, key, err)
	}
	return aws.ToString(out.ETag), nil
}

// isBucketNotVisible: a bucket that was just created may be unknown for a
// moment, or still being configured.
func isBucketNotVisible(err error) bool {
	return awswait.HasCode(err, "NoSuchBucket") || awswait.IsBucketConflict(err)
}

// removeStale removes settings and reports of nodes that are not wanted any more.
func (w *work) removeStale(ctx context.Context, open map[string]string) error {
	layout := w.layout()
	var stale []string
	for key := range w.seen.objects {
		_, wanted := open[key]
		if strings.HasPrefix(key, layout.InstanceConfigs()) && !wanted {
			stale = append(stale, key)
		}
		if name, report := strings.CutPrefix(key, layout.Reports()); report {
			if _, lives := w.spec.Nodes[strings.TrimSuffix(name, ".json")]; !lives {
				stale = append(stale, key)
			}
		}
	}
	w.objects.forget(stale)
	return w.deleteObjects(ctx, stale)
}

// ownPrefixes are the keys that the resource itself writes or has written for
// it. Certificates, WAF rules and VPN peers belong to others, and stay.
func (w *work) ownPrefixes() []string {
	layout := w.layout()
	return []string{layout.Topology(), layout.InstanceConfigs(), layout.Prefix() + "credentials/", layout.Reports(), layout.VPNAddresses()}
}

// purgeObjects deletes all versions of the resource's own objects: secrets
// must not linger as old versions.
func (w *work) purgeObjects(ctx context.Context) error {
	if w.spec.Buckets.Uploads == "" {
		return nil
	}
	return base.ParallelAll(ctx, stepsFor(w.ownPrefixes(), func(ctx context.Context, _ int, prefix string) error {
		return w.purge(ctx, prefix)
	})...)
}

func (w *work) purge(ctx context.Context, prefix string) error {
	pages := s3.NewListObjectVersionsPaginator(w.Client.S3, &s3.ListObjectVersionsInput{Bucket: &w.spec.Buckets.Uploads, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if awswait.HasCode(err, "NoSuchBucket") {
			return nil
		}
		if err != nil {
			return err
		}
		var ids []s3types.ObjectIdentifier
		for _, v := range page.Versions {
			ids = append(ids, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			ids = append(ids, s3types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if err := w.deleteVersions(ctx, ids); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) deleteObjects(ctx context.Context, keys []string) error {
	var ids []s3types.ObjectIdentifier
	for _, key := range keys {
		ids = append(ids, s3types.ObjectIdentifier{Key: aws.String(key)})
	}
	return w.deleteVersions(ctx, ids)
}

// maxDelete is how many objects DeleteObjects takes (S3 API reference).
const maxDelete = 1000

func (w *work) deleteVersions(ctx context.Context, ids []s3types.ObjectIdentifier) error {
	for chunk := range slices.Chunk(ids, maxDelete) {
		out, err := w.Client.S3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &w.spec.Buckets.Uploads,
			Delete: &s3types.Delete{Objects: chunk, Quiet: aws.Bool(true)}})
		if err != nil {
			return fmt.Errorf("delete objects in bucket %s: %w", w.spec.Buckets.Uploads, err)
		}
		if len(out.Errors) > 0 { // a successful answer can hold failures
			first := out.Errors[0]
			return fmt.Errorf("delete objects in bucket %s: %d of %d failed, first %s: %s: %s", w.spec.Buckets.Uploads,
				len(out.Errors), len(chunk), aws.ToString(first.Key), aws.ToString(first.Code), aws.ToString(first.Message))
		}
	}
	return nil
}

// driftOfObjects lists the objects that are gone or were changed.
func (w *work) driftOfObjects() []string {
	if w.spec.Buckets.Uploads == "" {
		return nil
	}
	var found []string
	layout := w.layout()
	for _, role := range w.spec.roles() {
		key := layout.Credentials(role)
		if w.seen.objects[key] == "" && w.objects.etagOf(key) == "" { // else it is found below
			found = append(found, "the credentials of role "+string(role)+" are gone")
		}
	}
	w.objects.mu.Lock()
	defer w.objects.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(w.objects.written)) {
		etag := w.seen.objects[key]
		switch {
		case etag == "":
			found = append(found, key+" is gone")
		case etag != w.objects.written[key].ETag:
			found = append(found, key+" was changed")
		}
	}
	return found
}
