//go:build linux

package imagecache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func layer(t *testing.T, content string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layer")
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "etc", "file"), []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

func image(content string) Image {
	return Image{Content: content, Below: "base", Role: "app", Name: "app-" + content, Tags: map[string]string{"a": "b"}}
}

// file returns the content of the file in a cached image's layer.
func file(t *testing.T, c *Cache, want Image) (string, error) {
	t.Helper()
	var text string
	err := c.Get(want.Content, want.Below, func(i Image, layer string) error {
		if !reflect.DeepEqual(i, want) {
			t.Errorf("got %+v, want %+v", i, want)
		}
		to := filepath.Join(t.TempDir(), "copy")
		if err := Copy(t.Context(), to, layer); err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(to, "etc", "file"))
		text = string(b)
		return err
	})
	return text, err
}

func TestImageIsFoundByDigestAndBaseImage(t *testing.T) {
	c := New(filepath.Join(t.TempDir(), "images"))
	i := image("aaaaaaaa")
	if _, err := file(t, c, i); !errors.Is(err, ErrMissing) {
		t.Errorf("in an empty cache: %v", err)
	}
	for _, content := range []string{"old", "new"} {
		if err := c.Put(t.Context(), i, layer(t, content)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := file(t, c, i); got != "new" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	i.Below = "another base"
	if _, err := file(t, c, i); !errors.Is(err, ErrMissing) {
		t.Errorf("on other layers: %v", err)
	}
	if err := c.Put(t.Context(), image("../x"), layer(t, "")); err == nil {
		t.Error("a path was accepted as a digest")
	}
}

func TestLeastRecentlyUsedImageOfARoleIsRemoved(t *testing.T) {
	c := New(filepath.Join(t.TempDir(), "images"))
	for n := range keep + 1 {
		i := image(fmt.Sprintf("%08d", n))
		if err := c.Put(t.Context(), i, layer(t, "")); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(time.Duration(n-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(c.dir, i.Content, recordName), old, old); err != nil {
			t.Fatal(err)
		}
		if _, err := file(t, c, image("00000000")); err != nil { // is used again and again
			t.Fatal(err)
		}
	}
	if _, err := file(t, c, image("00000001")); !errors.Is(err, ErrMissing) {
		t.Errorf("least recently used image: %v", err)
	}
	if _, err := file(t, c, image(fmt.Sprintf("%08d", keep))); err != nil {
		t.Error(err)
	}
}
