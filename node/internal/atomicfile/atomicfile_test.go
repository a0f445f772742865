package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFileIsWrittenOnlyWhenItDiffers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory", "secret")
	f := File{Path: path, Content: []byte("one"), Mode: 0o640, UID: -1, GID: -1}
	for n, want := range []bool{true, false} {
		if changed, err := Write(f); err != nil || changed != want {
			t.Errorf("write %d: changed %t, %v", n+1, changed, err)
		}
	}
	f.Content = []byte("two")
	if changed, err := Write(f); err != nil || !changed {
		t.Errorf("new content: changed %t, %v", changed, err)
	}
	f.Mode = 0o600
	if changed, err := Write(f); err != nil || !changed {
		t.Errorf("new mode: changed %t, %v", changed, err)
	}
	text, err := os.ReadFile(path)
	info, errStat := os.Stat(path)
	if err != nil || errStat != nil || string(text) != "two" || info.Mode() != 0o600 {
		t.Errorf("got %q, %v, %v, %v", text, info.Mode(), err, errStat)
	}
}

func TestNewOwnerIsAChange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing owners needs root")
	}
	f := File{Path: filepath.Join(t.TempDir(), "file"), Content: []byte("x"), Mode: 0o600, UID: 0, GID: 0}
	for _, uid := range []int{0, 33} {
		f.UID = uid
		if changed, err := Write(f); err != nil || !changed {
			t.Errorf("owner %d: changed %t, %v", uid, changed, err)
		}
	}
}

func TestSymlinkIsReplacedNotFollowed(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteFile(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(target); err != nil || string(text) != "kept" {
		t.Errorf("target has %q, %v; want it unchanged", text, err)
	}
}

func TestFailedWriteLeavesNoTemporaryFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.Mkdir(path, 0o700); err != nil { // a file cannot replace a directory
		t.Fatal(err)
	}
	if _, err := WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Error("the write succeeded, want an error")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("directory has %v, %v; want only the original entry", left, err)
	}
}
