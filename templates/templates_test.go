package templates

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
)

const hardening = "base/files/usr/lib/systemd/system/xeroops-.service.d/10-hardening.conf"

// The shared drop-in overrides the units, so a line that repeats it has no effect.
// infrastructure-ready.service is out of its reach.
func TestNoUnitRepeatsTheSharedHardening(t *testing.T) {
	shared := settings(t, hardening)
	if len(shared) == 0 {
		t.Fatalf("%s is empty", hardening)
	}
	err := fs.WalkDir(Files, ".", func(name string, e fs.DirEntry, err error) error {
		ours := strings.Contains(name, "/systemd/system/") && path.Base(name) != "infrastructure-ready.service" && name != hardening
		if err != nil || e.IsDir() || !ours {
			return err
		}
		for _, line := range settings(t, name) {
			if slices.Contains(shared, line) {
				t.Errorf("%s repeats %s, which 10-hardening.conf sets", name, line)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// settings returns the lines NAME=VALUE of a unit file.
func settings(t *testing.T, name string) []string {
	t.Helper()
	content, err := Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && strings.Contains(line, "=") {
			found = append(found, line)
		}
	}
	return found
}
