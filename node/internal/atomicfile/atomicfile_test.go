package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsMadeAsWantedAndThenLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "secret")
	f := File{Path: path, Content: []byte("one"), Mode: 0o640, UID: -1, GID: -1}
	for n, want := range []bool{true, false} {
		if changed, err := Write(f); err != nil || changed != want {
			t.Errorf("write %d: changed %v, %v", n+1, changed, err)
		}
	}
	f.Content = []byte("two")
	if changed, err := Write(f); err != nil || !changed {
		t.Errorf("other content: changed %v, %v", changed, err)
	}
	f.Mode = 0o600
	if changed, err := Write(f); err != nil || !changed {
		t.Errorf("other mode: changed %v, %v", changed, err)
	}
	text, err := os.ReadFile(path)
	info, errStat := os.Stat(path)
	if err != nil || errStat != nil || string(text) != "two" || info.Mode() != 0o600 {
		t.Errorf("got %q, %v, %v, %v", text, info.Mode(), err, errStat)
	}
}

func TestAnotherOwnerIsAChange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing owners needs root")
	}
	f := File{Path: filepath.Join(t.TempDir(), "file"), Content: []byte("x"), Mode: 0o600, UID: 0, GID: 0}
	for _, uid := range []int{0, 33} {
		f.UID = uid
		if changed, err := Write(f); err != nil || !changed {
			t.Errorf("owner %d: changed %v, %v", uid, changed, err)
		}
	}
}

func TestASymlinkIsReplacedAndNotFollowed(t *testing.T) {
	folder := t.TempDir()
	target, link := filepath.Join(folder, "target"), filepath.Join(folder, "link")
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
		t.Errorf("the target has %q, %v", text, err)
	}
}

func TestWhatCannotBeWrittenLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "taken")
	if err := os.Mkdir(path, 0o700); err != nil { // a folder can't be renamed over
		t.Fatal(err)
	}
	if _, err := WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Error("it was written")
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
