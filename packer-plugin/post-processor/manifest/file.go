package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/filelock"
)

// merge sets one image in the file and keeps its other content. A lock file
// excludes concurrent builds, which are separate processes.
func merge(ctx context.Context, path, variable, role, id string) error {
	lock := filelock.New(path + ".lock")
	for {
		got, err := lock.TryLock()
		if err != nil {
			return fmt.Errorf("lock %s: %w", path, err)
		}
		if got {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	defer func() { _ = lock.Unlock() }()

	variables, images, err := read(path, variable)
	if err != nil {
		return err
	}
	images[role] = id
	if variables[variable], err = json.Marshal(images); err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	content, err := json.MarshalIndent(variables, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return replace(path, append(content, '\n'))
}

// read returns the variables in the file, and the images in one of them. A file that
// does not exist is empty; its directory has to exist.
func read(path, variable string) (variables map[string]json.RawMessage, images map[string]string, err error) {
	variables, images = map[string]json.RawMessage{}, map[string]string{}
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return nil, nil, fmt.Errorf("write %s: %w; create the directory", path, err)
		}
		return variables, images, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	if err := json.Unmarshal(content, &variables); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w; repair or remove it", path, err)
	}
	if raw, ok := variables[variable]; ok {
		if err := json.Unmarshal(raw, &images); err != nil {
			return nil, nil, fmt.Errorf("read %s: %s is not a map of strings: %w", path, variable, err)
		}
	}
	if variables == nil || images == nil { // null in JSON
		return nil, nil, fmt.Errorf("read %s: it or %s in it is null; repair or remove it", path, variable)
	}
	return variables, images, nil
}

// replace replaces the file atomically: readers see the old or the new content.
func replace(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // fails after the rename
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
