// Package publish uploads bundles to the uploads bucket. A version exists once its
// manifest does, which is written last and never overwritten: all wheels of a manifest
// exist, and a version never changes.
package publish

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/printable"
)

// atOnce is how many files are uploaded at the same time.
const atOnce = 8

// ErrOther is returned if a version exists with other content.
var ErrOther = errors.New("this version is already published with other content")

// Published is a bundle in the bucket.
type Published struct {
	Manifest bundle.Manifest
	SHA256   string // of its bundle.json
}

// Find returns a version's bundle, and false if there is none.
func Find(ctx context.Context, a *access.Access, application, version string) (Published, bool, error) {
	key := bundle.Key(application, version, bundle.ManifestName)
	content, err := a.Object(ctx, key)
	if access.IsNotFound(err) || awswait.HasCode(err, "AccessDenied") && isAbsent(ctx, a, key) {
		return Published{}, false, nil
	}
	if err != nil {
		return Published{}, false, err
	}
	p := Published{SHA256: bundle.Sum(content)}
	if p.Manifest, err = bundle.Decode(content, p.SHA256); err != nil {
		return p, true, fmt.Errorf("version %s of %s: %w", version, application, err)
	}
	return p, true, nil
}

// isAbsent reports whether a listing shows that an object does not exist. Reading it
// fails with AccessDenied then, if the caller may list a part of the bucket only.
func isAbsent(ctx context.Context, a *access.Access, key string) bool {
	out, err := a.S3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &a.Bucket, Prefix: &key})
	return err == nil && !slices.ContainsFunc(out.Contents, func(o types.Object) bool { return aws.ToString(o.Key) == key })
}

// Versions returns all versions of an application, the newest first.
func Versions(ctx context.Context, a *access.Access, application string) ([]Published, error) {
	var all []Published
	prefix := bundle.Prefix(application, "")
	prefix = strings.TrimSuffix(prefix, "/")
	pages := s3.NewListObjectsV2Paginator(a.S3, &s3.ListObjectsV2Input{Bucket: &a.Bucket, Prefix: &prefix, Delimiter: aws.String("/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the versions of %s: %w", application, err)
		}
		for _, found := range page.CommonPrefixes {
			version := strings.TrimSuffix(strings.TrimPrefix(aws.ToString(found.Prefix), prefix), "/")
			p, there, err := Find(ctx, a, application, version)
			if err != nil {
				return nil, err
			}
			if there {
				all = append(all, p)
			}
		}
	}
	slices.SortFunc(all, func(x, y Published) int { return y.Manifest.CreatedAt.Compare(x.Manifest.CreatedAt) })
	return all, nil
}

// Describe returns the manifest of the wheels in a directory: settings with the other
// fields set. own is the application's own wheel.
func Describe(settings bundle.Manifest, own, dir string) (bundle.Manifest, error) {
	m := settings
	m.Schema, m.CreatedAt = bundle.Schema, time.Now().UTC().Truncate(time.Second)
	paths, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil {
		return m, err
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return m, err
		}
		w := bundle.Wheel{File: filepath.Base(path), SHA256: bundle.Sum(content), Size: int64(len(content))}
		if w.File == own {
			m.Wheels = slices.Insert(m.Wheels, 0, w)
		} else {
			m.Wheels = append(m.Wheels, w)
		}
	}
	return m, m.Check()
}

// Differences lists how a bundle differs from another, ignoring its author and time.
func Differences(is, was bundle.Manifest) []string {
	var all []string
	note := func(what string, is, was any) {
		if is != was {
			all = append(all, fmt.Sprintf("%s is %v, but published as %v", what, is, was))
		}
	}
	note("python", is.Python, was.Python)
	note("platform", is.Platform, was.Platform)
	note("app", is.App, was.App)
	note("port", is.Port, was.Port)
	note("route_prefix", is.RoutePrefix, was.RoutePrefix)
	note("health_path", is.HealthPath, was.HealthPath)
	note("workers", is.Workers, was.Workers)
	note("health_host", is.HealthHost, was.HealthHost)
	note("health_proto", is.HealthProto, was.HealthProto)
	note("timeout", is.Timeout, was.Timeout)
	note("drain", is.Drain, was.Drain)
	note("start_timeout", is.StartTimeout, was.StartTimeout)
	sums := func(m bundle.Manifest) map[string]string {
		of := map[string]string{}
		for _, w := range m.Wheels {
			of[w.File] = w.SHA256
		}
		return of
	}
	now, before := sums(is), sums(was)
	for _, w := range is.Wheels {
		if sum, there := before[w.File]; !there {
			all = append(all, w.File+" is not part of the published version")
		} else if sum != w.SHA256 {
			all = append(all, w.File+" has other content")
		}
	}
	for _, w := range was.Wheels {
		if _, there := now[w.File]; !there {
			all = append(all, w.File+" is only part of the published version")
		}
	}
	return all
}

// Upload uploads a bundle, its manifest last, and calls done after each file. It skips
// files that exist. If another operator published the same version meanwhile, Upload
// returns that one, or ErrOther if its content differs.
func Upload(ctx context.Context, a *access.Access, m bundle.Manifest, dir string, done func(files int)) (Published, error) {
	content, sum, err := m.Encode()
	if err != nil {
		return Published{}, err
	}
	if err := Wheels(ctx, a, m, dir, done); err != nil {
		return Published{}, err
	}
	key := bundle.Key(m.Application, m.Version, bundle.ManifestName)
	_, err = a.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &a.Bucket, Key: &key, Body: strings.NewReader(string(content)),
		ContentType: aws.String("application/json"), IfNoneMatch: aws.String("*")})
	published := Published{Manifest: m, SHA256: sum}
	if awswait.HasCode(err, "PreconditionFailed") {
		if published, err = theirs(ctx, a, m); err != nil {
			return published, err
		}
	}
	if err != nil {
		return Published{}, fmt.Errorf("write s3://%s/%s: %w", a.Bucket, key, err)
	}
	// Before the manifest existed, another operator with other content may have
	// overwritten wheels.
	return published, Wheels(ctx, a, m, dir, done)
}

// Wheels uploads the wheels of a bundle that do not exist or differ from the manifest,
// and calls done after each.
func Wheels(ctx context.Context, a *access.Access, m bundle.Manifest, dir string, done func(files int)) error {
	var mutex sync.Mutex
	files := 0
	group, uploading := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, w := range m.Wheels {
		group.Go(func() error {
			if err := uploadWheel(uploading, a, bundle.Key(m.Application, m.Version, w.File), filepath.Join(dir, w.File), w); err != nil {
				return err
			}
			mutex.Lock()
			defer mutex.Unlock()
			files++
			done(files)
			return nil
		})
	}
	return group.Wait()
}

// theirs returns the same version as published by another operator.
func theirs(ctx context.Context, a *access.Access, m bundle.Manifest) (Published, error) {
	p, there, err := Find(ctx, a, m.Application, m.Version)
	if err == nil && !there {
		err = errors.New("it was deleted again; run the same command again")
	}
	if err != nil {
		return p, fmt.Errorf("read the published version %s: %w", m.Version, err)
	}
	if d := Differences(m, p.Manifest); len(d) > 0 {
		return p, fmt.Errorf("%w, by %s a moment ago: %s", ErrOther, printable.Line(p.Manifest.CreatedBy), strings.Join(d, "; "))
	}
	return p, nil
}

// uploadWheel uploads a file unless it exists. S3 stores its SHA-256, and rejects
// content that does not match.
func uploadWheel(ctx context.Context, a *access.Access, key, path string, w bundle.Wheel) error {
	raw, err := hex.DecodeString(w.SHA256)
	if err != nil {
		return err
	}
	sum := base64.StdEncoding.EncodeToString(raw)
	head, err := a.S3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &a.Bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err == nil && aws.ToString(head.ChecksumSHA256) == sum {
		return nil
	}
	// After any error of HeadObject, the upload is tried, and its error is returned.
	content, err := os.Open(path)
	if err != nil {
		return err
	}
	defer content.Close()
	if _, err := a.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &a.Bucket, Key: &key, Body: content, ContentLength: &w.Size,
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumSHA256: &sum}); err != nil {
		return fmt.Errorf("upload %s to s3://%s/%s: %w", w.File, a.Bucket, key, err)
	}
	return nil
}
