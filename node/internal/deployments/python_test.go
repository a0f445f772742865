package deployments

import (
	"archive/zip"
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/bundle"
)

func TestWheelWithAFalseSizeIsRefused(t *testing.T) {
	s := store{t.TempDir()}
	w := bundle.Wheel{File: "false-1-py3-none-any.whl", SHA256: strings.Repeat("a", 64), Size: 1}
	var content bytes.Buffer
	z := zip.NewWriter(&content)
	for _, name := range []string{"one", "two"} { // the sum overflows to 0
		_, err := z.CreateRaw(&zip.FileHeader{Name: name, UncompressedSize64: math.MaxUint64/2 + 1})
		check(t, err)
	}
	check(t, z.Close())
	check(t, os.MkdirAll(filepath.Dir(s.wheel(w.SHA256)), 0o755))
	check(t, os.WriteFile(s.wheel(w.SHA256), content.Bytes(), 0o644))
	if need, err := unpackedBytes(bundle.Manifest{Wheels: []bundle.Wheel{w}}, s); !errors.Is(err, errPermanent) {
		t.Errorf("unpackedBytes() = %d, %v; want a permanent error", need, err)
	}
}

func TestCorruptWheelOnTheDiskIsFetchedAgain(t *testing.T) {
	f := newFixture(t)
	f.start()
	shared := newWheel("shared", "1", map[string]string{"shared.py": "x = 1\n"})
	f.publish(version{version: "1", wheels: []wheel{shared}})
	f.mustBeHealthy("1")
	path := f.store.wheel(bundle.Sum(shared.content))
	check(t, os.WriteFile(path, make([]byte, len(shared.content)), 0o644)) // as after a power failure
	f.publish(version{version: "2", wheels: []wheel{shared}})
	f.mustBeHealthy("2")
	if is, err := os.ReadFile(path); err != nil || !bytes.Equal(is, shared.content) {
		t.Errorf("the wheel is still corrupt: %v", err)
	}
}
