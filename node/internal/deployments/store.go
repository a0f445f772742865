package deployments

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
)

// Root is where applications live on an app node:
//
//	APP/VERSION/           an environment, complete once it has its bundle.json
//	APP/current            a link to the version that serves
//	APP/.failed.json       the release that was tried last and did not come up
//	.wheels/SHA256         wheels, shared by all versions
const Root = "/opt/xeroops/applications"

const (
	wheelsFolder = ".wheels"
	currentLink  = "current"
	failedFile   = ".failed.json"
	compiledMark = ".compiled" // in an environment: byte code is complete
	// kept is how many versions of an application stay, the one that serves among them.
	kept = 5
	// maxManifest bounds bundle.json in bytes: a thousand wheels are 200 kB.
	maxManifest = 4 << 20
)

// release is one publication of a version.
type release struct {
	Application string `json:"application"`
	Version     string `json:"version"`
	SHA256      string `json:"sha256"`
	PublishedAt string `json:"published_at"` // with it, publishing again is another release
}

// installed is a version with a complete environment.
type installed struct {
	bundle.Manifest
	SHA256 string // of its bundle.json
}

func (i installed) is(r release) bool { return i.Version == r.Version && i.SHA256 == r.SHA256 }

// store is what lies below [Root].
type store struct{ root string }

func (s store) environment(application, version string) string {
	return filepath.Join(s.root, application, version)
}

func (s store) wheel(sum string) string { return filepath.Join(s.root, wheelsFolder, sum) }

// applications lists those that have a folder.
func (s store) applications() ([]string, error) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return nil, fmt.Errorf("list applications: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && bundle.CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// installed reads a version that is complete, and as it says of itself.
func (s store) installed(application, version string) (installed, error) {
	path := filepath.Join(s.environment(application, version), bundle.ManifestName)
	info, err := os.Lstat(path)
	if err != nil {
		return installed{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxManifest {
		return installed{}, fmt.Errorf("read %s: it is no file of at most %d bytes", path, maxManifest)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return installed{}, err
	}
	sum := bundle.Sum(content)
	m, err := bundle.Decode(content, sum)
	if err != nil {
		return installed{}, fmt.Errorf("read %s: %w", path, err)
	}
	if m.Application != application || m.Version != version {
		return installed{}, fmt.Errorf("read %s: it is of %s %s", path, m.Application, m.Version)
	}
	return installed{m, sum}, nil
}

// versions returns the complete ones, that which served last first.
func (s store) versions(application string) []installed {
	type aged struct {
		installed
		used time.Time
	}
	entries, _ := os.ReadDir(filepath.Join(s.root, application)) // none: no version
	var all []aged
	for _, e := range entries {
		if !e.IsDir() || bundle.CheckVersion(e.Name()) != nil {
			continue
		}
		i, err := s.installed(application, e.Name())
		if err != nil {
			continue
		}
		info, err := os.Stat(filepath.Join(s.environment(application, e.Name()), bundle.ManifestName))
		if err == nil {
			all = append(all, aged{i, info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return b.used.Compare(a.used) })
	found := make([]installed, len(all))
	for n, a := range all {
		found[n] = a.installed
	}
	return found
}

// current is the version that serves; ok is false if there is none.
func (s store) current(application string) (i installed, ok bool) {
	version, err := os.Readlink(filepath.Join(s.root, application, currentLink))
	if err != nil || bundle.CheckVersion(version) != nil {
		return installed{}, false
	}
	i, err = s.installed(application, version)
	return i, err == nil
}

// setCurrent flips the link in one step, which a power cut either undoes or keeps.
func (s store) setCurrent(application, version string) error {
	folder := filepath.Join(s.root, application)
	next := filepath.Join(folder, "."+currentLink)
	_ = os.Remove(next) // of a daemon that was killed
	if err := os.Symlink(version, next); err != nil {
		return fmt.Errorf("make %s the current version: %w", version, err)
	}
	if err := os.Rename(next, filepath.Join(folder, currentLink)); err != nil {
		return fmt.Errorf("make %s the current version: %w", version, err)
	}
	now := time.Now()
	manifest := filepath.Join(s.environment(application, version), bundle.ManifestName)
	return errors.Join(os.Chtimes(manifest, now, now), syncFolder(folder))
}

// unsetCurrent undoes a first version that did not come up.
func (s store) unsetCurrent(application string) error {
	return os.Remove(filepath.Join(s.root, application, currentLink))
}

// complete marks an environment as whole. Everything in it reaches the disk
// before the mark does.
func (s store) complete(application, version string, manifest []byte) error {
	folder := s.environment(application, version)
	if err := syncFilesystem(folder); err != nil {
		return err
	}
	_, err := atomicfile.Write(atomicfile.File{
		Path: filepath.Join(folder, bundle.ManifestName), Content: manifest, Mode: 0o644, UID: -1, GID: -1})
	return err
}

func (s store) isCompiled(v installed) bool {
	_, err := os.Stat(filepath.Join(s.environment(v.Application, v.Version), compiledMark))
	return err == nil
}

func (s store) markCompiled(v installed) error {
	return os.WriteFile(filepath.Join(s.environment(v.Application, v.Version), compiledMark), nil, 0o644)
}

// removeHalfMade removes environments that a killed daemon left incomplete.
func (s store) removeHalfMade(application string) error {
	entries, err := os.ReadDir(filepath.Join(s.root, application))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || bundle.CheckVersion(e.Name()) != nil {
			continue
		}
		if _, err := s.installed(application, e.Name()); err != nil {
			errs = append(errs, os.RemoveAll(s.environment(application, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// remove takes a version away, its mark first.
func (s store) remove(application, version string) error {
	folder := s.environment(application, version)
	err := os.Remove(filepath.Join(folder, bundle.ManifestName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(folder)
}

// prune keeps the versions of an application that served last.
func (s store) prune(application string) error {
	current, _ := s.current(application)
	left := kept
	var errs []error
	for _, v := range s.versions(application) {
		if left--; left < 0 && v.Version != current.Version {
			errs = append(errs, s.remove(application, v.Version))
		}
	}
	return errors.Join(errs...)
}

// pruneWheels keeps the wheels that any version on the node has.
func (s store) pruneWheels() error {
	applications, err := s.applications()
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, a := range applications {
		for _, v := range s.versions(a) {
			for _, w := range v.Wheels {
				used[w.SHA256] = true
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.root, wheelsFolder))
	var errs []error
	for _, e := range entries {
		if !used[e.Name()] {
			errs = append(errs, os.Remove(s.wheel(e.Name())))
		}
	}
	return errors.Join(append(errs, err)...)
}

// failure is a release that did not come up, and why.
type failure struct {
	release
	Error string `json:"error"`
}

// markFailed is for the daemon alone to read: an error holds lines of the
// application's journal.
func (s store) markFailed(f failure) error {
	content, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = atomicfile.Write(atomicfile.File{
		Path: filepath.Join(s.root, f.Application, failedFile), Content: content, Mode: 0o600, UID: -1, GID: -1})
	return err
}

// failed says whether this very release was tried and did not come up.
func (s store) failed(r release) (failure, bool) {
	var f failure
	content, err := os.ReadFile(filepath.Join(s.root, r.Application, failedFile))
	if err != nil || json.Unmarshal(content, &f) != nil {
		return f, false
	}
	return f, f.release == r
}

// freeBytes is what the file system of the store has left for its user.
func (s store) freeBytes() (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.root, &fs); err != nil {
		return 0, fmt.Errorf("how much space %s has: %w", s.root, err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

func syncFilesystem(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("write %s to the disk: %w", path, err)
	}
	return nil
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
