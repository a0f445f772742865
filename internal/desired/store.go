package desired

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/bundle"
)

const (
	// maxObjectBytes bounds what is read of an object; one of ours has 400 bytes, and
	// a ledger of all 100 ports at most 30 kB.
	maxObjectBytes = 64 << 10
	// maxApplications bounds a listing to one call (S3 returns up to 1,000 names). There
	// are 100 ports, so more are names that nothing runs under any more.
	maxApplications = 1000
	parallelReads   = 8
	changeTries     = 5
)

// ErrNone is returned for an object that does not exist.
var ErrNone = errors.New("object does not exist")

// ConflictError reports that a put was refused because somebody else has written the
// object since it was read.
type ConflictError struct {
	Key string
}

func (e *ConflictError) Error() string {
	return "write " + e.Key + ": it was changed in the meantime; retry"
}

// Store reads and writes the objects in one bucket.
type Store struct {
	client *s3.Client
	bucket string
	owner  string // the account that has to own the bucket
	prefix string // of all applications, with a slash at its end
	ledger string // key
}

// Object is an application's state with the metadata that S3 has of its object.
type Object struct {
	State
	ETag     string
	Modified time.Time // by S3's clock, in seconds
}

var accountID = regexp.MustCompile(`^[0-9]{12}$`)

// New returns the store of a bucket that has to belong to the account owner: a bucket
// of that name in another account is never read or written. The keys of applications
// begin with prefix; ledger is the key of the [Ledger].
func New(client *s3.Client, bucket, owner, prefix, ledger string) (Store, error) {
	if !accountID.MatchString(owner) {
		return Store{}, fmt.Errorf("open bucket %s: its owner %q is not the id of an AWS account", bucket, owner)
	}
	return Store{client, bucket, owner, prefix, ledger}, nil
}

func (s Store) key(application string) string { return s.prefix + application + "/" + ObjectName }

// Read returns an application's object, or [ErrNone].
func (s Store) Read(ctx context.Context, application string) (Object, error) {
	return s.readUnless(ctx, application, Object{})
}

// readUnless reads an application's object, or returns known if it has not changed.
func (s Store) readUnless(ctx context.Context, application string, known Object) (Object, error) {
	if err := bundle.CheckName(application); err != nil {
		return Object{}, err
	}
	key := s.key(application)
	content, o, err := s.get(ctx, key, known.ETag)
	if err != nil || content == nil {
		return known, err
	}
	if o.State, err = Decode(application, content); err != nil {
		return Object{}, fmt.Errorf("read s3://%s/%s: %w", s.bucket, key, err)
	}
	return o, nil
}

// get returns an object's content, or nil if the object's ETag is still known.
func (s Store) get(ctx context.Context, key, known string) (content []byte, o Object, err error) {
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: &key, ExpectedBucketOwner: &s.owner}
	if known != "" {
		in.IfNoneMatch = &known
	}
	out, err := s.client.GetObject(ctx, in)
	switch {
	case awswait.HasCode(err, "NotModified"):
		return nil, o, nil
	case awswait.HasCode(err, "NoSuchKey"):
		return nil, o, fmt.Errorf("read s3://%s/%s: %w", s.bucket, key, ErrNone)
	case err != nil:
		return nil, o, fmt.Errorf("read s3://%s/%s: %w", s.bucket, key, err)
	}
	defer func() { _ = out.Body.Close() }()
	content, err = io.ReadAll(io.LimitReader(out.Body, maxObjectBytes+1))
	if err == nil && len(content) > maxObjectBytes {
		err = fmt.Errorf("it has more than %d bytes", maxObjectBytes)
	}
	if err != nil {
		return nil, o, fmt.Errorf("read s3://%s/%s: %w", s.bucket, key, err)
	}
	return content, Object{ETag: aws.ToString(out.ETag), Modified: aws.ToTime(out.LastModified)}, nil
}

// Write replaces the object that has the given ETag, or creates it if etag is "". If
// the object has changed in the meantime, it returns a [ConflictError].
func (s Store) Write(ctx context.Context, next State, etag string) error {
	if err := next.Check(); err != nil {
		return fmt.Errorf("write the desired version of %s: %w", next.Application, err)
	}
	return s.put(ctx, s.key(next.Application), next, etag)
}

func (s Store) put(ctx context.Context, key string, value any, etag string) error {
	content, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	in := &s3.PutObjectInput{Bucket: &s.bucket, Key: &key, ExpectedBucketOwner: &s.owner, Body: bytes.NewReader(content), ContentType: aws.String("application/json")}
	if in.IfMatch = &etag; etag == "" {
		in.IfMatch, in.IfNoneMatch = nil, aws.String("*")
	}
	_, err = s.client.PutObject(ctx, in, func(o *s3.Options) {
		// S3's answer while another put of the key is in progress (PutObject, If-None-Match).
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, "ConditionalRequestConflict")
	})
	switch {
	case err == nil:
		return nil
	case awswait.HasCode(err, "PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"): // NoSuchKey: deleted since it was read
		// If the response to a put was lost, the SDK's retry finds the object that it wrote.
		if now, _, readErr := s.get(ctx, key, ""); readErr == nil && bytes.Equal(now, content) {
			return nil
		}
		return &ConflictError{key}
	}
	return fmt.Errorf("write s3://%s/%s: %w", s.bucket, key, err)
}

// Change reads an application's object, calls change with it, or with an empty one if
// none exists, and writes and returns the result. If somebody else has written the
// object in the meantime, change is called again with that one. An error of change is
// returned and nothing is written.
func (s Store) Change(ctx context.Context, application string, change func(now State) (next State, err error)) (State, error) {
	for try := 1; ; try++ {
		now, err := s.Read(ctx, application)
		if err != nil && !errors.Is(err, ErrNone) {
			return State{}, err
		}
		next, err := change(now.State)
		if err != nil {
			return State{}, err
		}
		err = s.Write(ctx, next, now.ETag)
		if err == nil {
			return next, nil
		}
		if !errors.As(err, new(*ConflictError)) || try == changeTries {
			return State{}, err
		}
	}
}

// List returns the objects of all applications by name, in one call for the names
// and one for each application. Objects that have not changed since known was read are
// not transferred again. problems has the errors of objects that can't be read, by
// application.
func (s Store) List(ctx context.Context, known map[string]Object) (all map[string]Object, problems map[string]error, err error) {
	page, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &s.prefix, Delimiter: aws.String("/"),
		MaxKeys: aws.Int32(maxApplications), ExpectedBucketOwner: &s.owner})
	if err == nil && aws.ToBool(page.IsTruncated) {
		err = fmt.Errorf("there are more than %d; delete those that nothing runs under", maxApplications)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list the applications in s3://%s/%s: %w", s.bucket, s.prefix, err)
	}
	all, problems = map[string]Object{}, map[string]error{}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(parallelReads)
	for _, found := range page.CommonPrefixes {
		name := strings.TrimSuffix(strings.TrimPrefix(aws.ToString(found.Prefix), s.prefix), "/")
		if bundle.CheckName(name) != nil {
			continue // nobody's whose name can be deployed
		}
		group.Go(func() error {
			o, err := s.readUnless(ctx, name, known[name])
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, ErrNone): // bundles of which none was ever desired
			case err != nil:
				problems[name] = err
			default:
				all[name] = o
			}
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	return all, problems, ctx.Err()
}

// ReadLedger returns the ledger and its ETag, both empty if there is none.
func (s Store) ReadLedger(ctx context.Context) (l Ledger, etag string, err error) {
	content, o, err := s.get(ctx, s.ledger, "")
	if errors.Is(err, ErrNone) {
		return Ledger{Schema: Schema}, "", nil
	}
	if err != nil {
		return Ledger{}, "", err
	}
	if err = decodeStrictly(content, &l); err == nil {
		err = l.check()
	}
	if err != nil {
		return Ledger{}, "", fmt.Errorf("read s3://%s/%s: %w", s.bucket, s.ledger, err)
	}
	return l, o.ETag, nil
}

// Settle brings the ledger up to date with a listing, and writes it if it changed.
// Only management calls it, since no other role may write the ledger. A
// [ConflictError] means that another run wrote the ledger first; the next run settles
// it.
func (s Store) Settle(ctx context.Context, objects map[string]Object, problems map[string]error) (l Ledger, refused map[string]error, err error) {
	before, etag, err := s.ReadLedger(ctx)
	if err != nil {
		return Ledger{}, nil, err
	}
	var unreadable []string
	for name := range problems {
		unreadable = append(unreadable, name)
	}
	l, refused = Assign(before, objects, unreadable)
	if etag != "" && l.Equal(before) {
		return l, refused, nil
	}
	if err := s.put(ctx, s.ledger, l, etag); err != nil {
		return Ledger{}, nil, err
	}
	return l, refused, nil
}
