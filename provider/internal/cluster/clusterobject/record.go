package clusterobject

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"sync"
)

// Record is what is kept of an object that was written, in the resource's
// private state, so that a listing shows whether somebody changed it: ETags can
// be compared, but not computed where the bucket encrypts with KMS.
//
// Of credentials only the ETag is kept. It may be their MD5, which reveals
// nothing: each of them contains a random password or key of 256 bits.
type Record struct {
	ETag   string `json:"etag"`
	SHA256 string `json:"sha256,omitempty"` // of the content
	// Internal are the names of the internal credentials in it, separated by commas;
	// "" if they are not known.
	Internal string `json:"internal,omitempty"`
	// Certifies is the digest of what a certificate certifies, and by whose authority; of
	// an authority, its newest generation.
	Certifies string `json:"certifies,omitempty"`
	RenewAt   int64  `json:"renew_at,omitempty"` // of a certificate, in Unix seconds
}

// records are the records by key. They are safe for concurrent use.
type records struct {
	mu    sync.Mutex
	byKey map[string]Record
}

// Records returns a copy of the records, by key.
func (o *Objects) Records() map[string]Record {
	o.records.mu.Lock()
	defer o.records.mu.Unlock()
	return maps.Clone(o.records.byKey)
}

// SetRecords sets the records to those of an earlier run.
func (o *Objects) SetRecords(earlier map[string]Record) {
	o.records.mu.Lock()
	defer o.records.mu.Unlock()
	o.records.byKey = map[string]Record{}
	maps.Copy(o.records.byKey, earlier)
}

// match reports whether an object with that ETag is the one that was written,
// with that content.
func (r *records) match(key, etag, content string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	written, known := r.byKey[key]
	return known && etag != "" && written == Record{ETag: etag, SHA256: digest(content)}
}

func (r *records) set(key string, written Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byKey[key] = written
}

func (r *records) remove(keys ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		delete(r.byKey, key)
	}
}

// get returns the record of an object, which has no ETag if there is none.
func (r *records) get(key string) Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byKey[key]
}

// etag returns the ETag of the object that was written, or "".
func (r *records) etag(key string) string { return r.get(key).ETag }

// internal returns the field Internal of an object's record.
func (r *records) internal(key string) string { return r.get(key).Internal }

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}
