package deployments

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/node/internal/backoff"
)

const (
	parallelFetches  = 8
	maxFetchAttempts = 4 // per object, besides the SDK's own retries
	fetchTimeout     = 2 * time.Minute
)

// errPermanent marks errors that a retry cannot fix: they require another release.
var errPermanent = errors.New("this release cannot run")

// permanent returns an error that is [errPermanent].
func permanent(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errPermanent, fmt.Errorf(format, args...))
}

// fetcher downloads bundles from the uploads bucket, and verifies their checksums before
// they are used.
type fetcher struct {
	s3     *s3.Client
	bucket string
	store  store
}

// manifest downloads bundle.json and verifies that it is the one that was published.
func (f fetcher) manifest(ctx context.Context, r release) (m bundle.Manifest, content []byte, err error) {
	key := bundle.Key(r.Application, r.Version, bundle.ManifestName)
	err = f.retry(ctx, key, func(body io.Reader) error {
		content, err = io.ReadAll(io.LimitReader(body, maxManifestBytes))
		return err
	})
	if err != nil {
		return m, nil, err
	}
	m, err = bundle.Decode(content, r.SHA256)
	if err != nil {
		return m, nil, permanent("%w", err)
	}
	if m.Application != r.Application || m.Version != r.Version {
		return m, nil, permanent("s3://%s/%s is the manifest of %s %s", f.bucket, key, m.Application, m.Version)
	}
	return m, content, nil
}

// wheels downloads the wheels of a bundle that are not on the disk.
func (f fetcher) wheels(ctx context.Context, m bundle.Manifest) error {
	if err := os.MkdirAll(filepath.Join(f.store.root, wheelsDir), 0o755); err != nil {
		return fmt.Errorf("create the directory of wheels: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelFetches)
	for _, w := range m.Wheels {
		group.Go(func() error {
			if f.has(w) {
				return nil
			}
			key := bundle.Key(m.Application, m.Version, w.File)
			return f.retry(ctx, key, func(body io.Reader) error { return f.save(w, body) })
		})
	}
	return group.Wait()
}

// has reports whether an intact wheel is on the disk: a power failure may have corrupted
// it.
func (f fetcher) has(w bundle.Wheel) bool {
	file, err := os.Open(f.store.wheel(w.SHA256))
	if err != nil {
		return false
	}
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return err == nil && hex.EncodeToString(hash.Sum(nil)) == w.SHA256
}

// save stores a wheel under its checksum after verifying it.
func (f fetcher) save(w bundle.Wheel, body io.Reader) (err error) {
	file, err := os.CreateTemp(filepath.Join(f.store.root, wheelsDir), ".fetching-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(body, w.Size+1))
	if err = errors.Join(err, file.Chmod(0o644), file.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != w.SHA256 || size != w.Size {
		return permanent("%s has %d bytes with SHA-256 %s, but %s specifies %d bytes with %s; publish the bundle again",
			w.File, size, got, bundle.ManifestName, w.Size, w.SHA256)
	}
	return os.Rename(file.Name(), f.store.wheel(w.SHA256))
}

// retry downloads an object until use has read all of it, or a retry cannot help.
func (f fetcher) retry(ctx context.Context, key string, use func(io.Reader) error) error {
	pause := 250 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := f.get(ctx, key, use)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("fetch s3://%s/%s: %w", f.bucket, key, err)
		if attempt == maxFetchAttempts || errors.Is(err, errPermanent) || isDiskFull(err) {
			return err
		}
		if !backoff.Sleep(ctx, pause) {
			return err
		}
		pause *= 3
	}
}

func (f fetcher) get(ctx context.Context, key string, use func(io.Reader) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	out, err := f.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &f.bucket, Key: &key})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	return use(out.Body)
}
