//go:build linux

// Package imagecache keeps role images between labs, by the digest of the sources that
// they were built from. Several labs may use the cache at the same time. It keeps the
// most recently used images of each role.
package imagecache

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/xeroops/xeroops/lab/internal/tree"
	"golang.org/x/sys/unix"
)

// keep is the number of images kept per role: enough to switch between two branches.
const keep = 2

// Image describes a cached image: its attributes in the account, and the identity of
// the layers that it is based on.
type Image struct {
	Content      string            `json:"content"` // digest of the sources, in hexadecimal; names the entry
	Below        string            `json:"below"`   // identity of the base image, see baseimage.Identity
	Role         string            `json:"role"`
	Name         string            `json:"name"`
	Description  string            `json:"description"`
	Tags         map[string]string `json:"tags"`
	SnapshotTags map[string]string `json:"snapshot_tags"` // of the root volume's snapshot
}

// Cache is a directory with an entry CONTENT/image.json and CONTENT/layer/ per image.
type Cache struct{ dir string }

// New returns the cache in dir. dir is created on first use.
func New(dir string) *Cache { return &Cache{dir} }

const (
	recordName = "image.json"
	layerName  = "layer"
)

var validContent = regexp.MustCompile(`^[0-9a-f]{8,64}$`)

// ErrMissing reports that the cache has no image with the digest and base image.
var ErrMissing = errors.New("not in the image cache")

// Put adds an image with a copy of its layer, replacing one with the same digest.
func (c *Cache) Put(ctx context.Context, i Image, layer string) error {
	if !validContent.MatchString(i.Content) {
		return fmt.Errorf("cache image %s: %q is not a content digest", i.Name, i.Content)
	}
	unlock, err := c.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	err = c.write(ctx, i, layer)
	if err == nil {
		err = c.trim(i.Role)
	}
	if err != nil {
		return fmt.Errorf("cache image %s: %w", i.Name, err)
	}
	return nil
}

func (c *Cache) write(ctx context.Context, i Image, layer string) error {
	entry := filepath.Join(c.dir, i.Content)
	made := entry + ".new"
	if err := tree.Remove(made); err != nil { // left by a process that was killed
		return err
	}
	if err := os.Mkdir(made, 0o700); err != nil {
		return err
	}
	content, err := json.MarshalIndent(i, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(made, recordName), content, 0o600)
	}
	if err == nil {
		err = Copy(ctx, filepath.Join(made, layerName), layer)
	}
	if err == nil {
		err = tree.Remove(entry)
	}
	if err == nil {
		err = os.Rename(made, entry)
	}
	if err != nil {
		return errors.Join(err, tree.Remove(made))
	}
	return nil
}

// Get calls use with an image and its layer, which use may copy. It returns ErrMissing
// if the cache lacks the image.
func (c *Cache) Get(content, below string, use func(i Image, layer string) error) error {
	if !validContent.MatchString(content) {
		return fmt.Errorf("%q is not a content digest: %w", content, ErrMissing)
	}
	unlock, err := c.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	entry := filepath.Join(c.dir, content)
	i, err := read(entry)
	if errors.Is(err, fs.ErrNotExist) || err == nil && i.Below != below {
		return fmt.Errorf("%s: %w", content, ErrMissing)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	if err := os.Chtimes(filepath.Join(entry, recordName), now, now); err != nil { // trim sorts by it
		return err
	}
	return use(i, filepath.Join(entry, layerName))
}

func read(entry string) (Image, error) {
	var i Image
	content, err := os.ReadFile(filepath.Join(entry, recordName))
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(content, &i); err != nil {
		return i, fmt.Errorf("read %s: %w; remove it", filepath.Join(entry, recordName), err)
	}
	return i, nil
}

// trim removes the least recently used images of a role.
func (c *Cache) trim(role string) error {
	records, err := filepath.Glob(filepath.Join(c.dir, "*", recordName))
	if err != nil {
		return err
	}
	type used struct {
		entry string
		at    time.Time
	}
	var all []used
	for _, record := range records {
		info, err := os.Stat(record)
		if err != nil {
			return err
		}
		i, err := read(filepath.Dir(record))
		if err != nil {
			return err
		}
		if i.Role == role {
			all = append(all, used{filepath.Dir(record), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b used) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.entry, b.entry)) })
	var errs []error
	for _, u := range all[min(keep, len(all)):] {
		errs = append(errs, tree.Remove(u.entry))
	}
	return errors.Join(errs...)
}

// lock takes a shared or an exclusive flock(2) on the cache.
func (c *Cache) lock(how int) (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock the image cache: %w", err)
	}
	f, err := os.OpenFile(c.dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the image cache: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the image cache: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// Copy copies a layer, with hard links where possible: neither copy is ever modified.
func Copy(ctx context.Context, to, from string) error {
	linked := exec.CommandContext(ctx, "cp", "--archive", "--link", from, to)
	if linked.Run() == nil {
		return nil
	}
	if err := tree.Remove(to); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "cp", "--archive", "--sparse=always", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}
