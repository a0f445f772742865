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

// Root is the directory of an app node's applications:
//
//	APP/VERSION/           an environment, complete if it has a bundle.json
//	APP/current            a link to the current version
//	APP/.failed.json       the last release whose deployment failed
//	.wheels/SHA256         wheels, shared by all versions
const Root = "/opt/xeroops/applications"

const (
	wheelsDir    = ".wheels"
	currentLink  = "current"
	failedFile   = ".failed.json"
	compiledMark = ".compiled" // in an environment whose byte code is complete
	// keptVersions is how many versions of an application are kept, including the current.
	keptVersions = 5
	// maxManifestBytes limits bundle.json: a thousand wheels take 200 kB.
	maxManifestBytes = 4 << 20
)

// release is one publication of a version.
type release struct {
	Application string `json:"application"`
	Version     string `json:"version"`
	SHA256      string `json:"sha256"`
	PublishedAt string `json:"published_at"` // differs if the same content is published again
}

// installed is a version with a complete environment.
type installed struct {
	bundle.Manifest
	SHA256 string // of its bundle.json
}

// stopSeconds is how long a version may take to stop: serve.py's grace period, its requests,
// and some time to end.
func (i installed) stopSeconds() int { return i.Limits.WithDefaults().Drain + 6 }

// stopTimeout is how long it takes until the version has stopped or was killed.
func (i installed) stopTimeout() time.Duration {
	return time.Duration(i.stopSeconds())*time.Second + killTimeout
}

// startTimeout is how long the version may take to answer its first request.
func (i installed) startTimeout() time.Duration {
	return time.Duration(i.Limits.WithDefaults().StartTimeout) * time.Second
}

// matches reports whether the version is that of a release.
func (i installed) matches(r release) bool { return i.Version == r.Version && i.SHA256 == r.SHA256 }

// store is the directory [Root].
type store struct{ root string }

func (s store) environment(application, version string) string {
	return filepath.Join(s.root, application, version)
}

func (s store) wheel(sum string) string { return filepath.Join(s.root, wheelsDir, sum) }

// applications returns the names of the applications that have a directory.
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

// installed reads a complete version and checks that the manifest is its own.
func (s store) installed(application, version string) (installed, error) {
	path := filepath.Join(s.environment(application, version), bundle.ManifestName)
	info, err := os.Lstat(path)
	if err != nil {
		return installed{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxManifestBytes {
		return installed{}, fmt.Errorf("read %s: not a regular file of at most %d bytes", path, maxManifestBytes)
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
		return installed{}, fmt.Errorf("read %s: it is the manifest of %s %s", path, m.Application, m.Version)
	}
	return installed{m, sum}, nil
}

// versions returns the complete versions, the most recently current first.
func (s store) versions(application string) []installed {
	type dated struct {
		installed
		lastUsed time.Time
	}
	entries, _ := os.ReadDir(filepath.Join(s.root, application)) // on an error there are none
	var all []dated
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
			all = append(all, dated{i, info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b dated) int { return b.lastUsed.Compare(a.lastUsed) })
	versions := make([]installed, len(all))
	for n, v := range all {
		versions[n] = v.installed
	}
	return versions
}

// current returns the current version; ok is false if there is none.
func (s store) current(application string) (i installed, ok bool) {
	version, err := os.Readlink(filepath.Join(s.root, application, currentLink))
	if err != nil || bundle.CheckVersion(version) != nil {
		return installed{}, false
	}
	i, err = s.installed(application, version)
	return i, err == nil
}

// setCurrent makes a version current, atomically even if the power fails.
func (s store) setCurrent(application, version string) error {
	dir := filepath.Join(s.root, application)
	next := filepath.Join(dir, "."+currentLink)
	_ = os.Remove(next) // left by a daemon that was killed
	if err := os.Symlink(version, next); err != nil {
		return fmt.Errorf("make %s the current version: %w", version, err)
	}
	if err := os.Rename(next, filepath.Join(dir, currentLink)); err != nil {
		return fmt.Errorf("make %s the current version: %w", version, err)
	}
	now := time.Now()
	manifest := filepath.Join(s.environment(application, version), bundle.ManifestName)
	return errors.Join(os.Chtimes(manifest, now, now), syncDir(dir))
}

// unsetCurrent leaves an application without a current version.
func (s store) unsetCurrent(application string) error {
	return os.Remove(filepath.Join(s.root, application, currentLink))
}

// complete marks an environment as complete by writing its manifest, after everything else
// in it has reached the disk.
func (s store) complete(application, version string, manifest []byte) error {
	dir := s.environment(application, version)
	if err := syncFilesystem(dir); err != nil {
		return err
	}
	_, err := atomicfile.Write(atomicfile.File{
		Path: filepath.Join(dir, bundle.ManifestName), Content: manifest, Mode: 0o644, UID: -1, GID: -1})
	return err
}

func (s store) isCompiled(v installed) bool {
	_, err := os.Stat(filepath.Join(s.environment(v.Application, v.Version), compiledMark))
	return err == nil
}

func (s store) markCompiled(v installed) error {
	return os.WriteFile(filepath.Join(s.environment(v.Application, v.Version), compiledMark), nil, 0o644)
}

// removeIncomplete removes the incomplete environments that a killed daemon left.
func (s store) removeIncomplete(application string) error {
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

// remove removes a version, its manifest first.
func (s store) remove(application, version string) error {
	dir := s.environment(application, version)
	err := os.Remove(filepath.Join(dir, bundle.ManifestName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(dir)
}

// prune removes all but the current and the most recently current versions of an
// application.
func (s store) prune(application string) error {
	current, _ := s.current(application)
	left := keptVersions
	var errs []error
	for _, v := range s.versions(application) {
		if left--; left < 0 && v.Version != current.Version {
			errs = append(errs, s.remove(application, v.Version))
		}
	}
	return errors.Join(errs...)
}

// pruneWheels removes the wheels that no version has.
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
	entries, err := os.ReadDir(filepath.Join(s.root, wheelsDir))
	var errs []error
	for _, e := range entries {
		if !used[e.Name()] {
			errs = append(errs, os.Remove(s.wheel(e.Name())))
		}
	}
	return errors.Join(append(errs, err)...)
}

// failure is a release whose deployment failed, and the error.
type failure struct {
	release
	Error string `json:"error"`
}

// markFailed records a failed release. Only the daemon can read the file, since the error
// has lines of the application's log.
func (s store) markFailed(f failure) error {
	content, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = atomicfile.Write(atomicfile.File{
		Path: filepath.Join(s.root, f.Application, failedFile), Content: content, Mode: 0o600, UID: -1, GID: -1})
	return err
}

// failed reports whether the deployment of this release has failed.
func (s store) failed(r release) (failure, bool) {
	var f failure
	content, err := os.ReadFile(filepath.Join(s.root, r.Application, failedFile))
	if err != nil || json.Unmarshal(content, &f) != nil {
		return f, false
	}
	return f, f.release == r
}

// freeBytes returns the space on the store's file system that is available to its user.
func (s store) freeBytes() (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.root, &fs); err != nil {
		return 0, fmt.Errorf("get the free space of %s: %w", s.root, err)
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
		return fmt.Errorf("sync the file system of %s: %w", path, err)
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
