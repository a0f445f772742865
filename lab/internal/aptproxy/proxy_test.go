package aptproxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// mirror is an upstream whose files have a Last-Modified time that is their version.
type mirror struct {
	*httptest.Server
	version   atomic.Int64
	downloads atomic.Int64
}

func startMirror(t *testing.T) *mirror {
	m := &mirror{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/debian/absent" {
			http.NotFound(w, r)
			return
		}
		modified := time.Unix(1_700_000_000+m.version.Load(), 0)
		if since, err := http.ParseTime(r.Header.Get("If-Modified-Since")); err == nil && !modified.After(since) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		m.downloads.Add(1)
		w.Header().Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
		fmt.Fprintf(w, "%s version %d", r.URL.Path, m.version.Load())
	}))
	t.Cleanup(m.Close)
	return m
}

func serve(t *testing.T, m *mirror) func(path string) (int, string) {
	p, err := New(t.Context(), m.URL+"/debian", t.TempDir(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return func(path string) (int, string) {
		answer, err := http.Get(server.URL + path)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		return answer.StatusCode, string(body)
	}
}

func TestPackageIsDownloadedOnce(t *testing.T) {
	m := startMirror(t)
	get := serve(t, m)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if status, body := get("/debian/pool/main/h/hello/hello_2.10_amd64.deb"); status != 200 || body != "/debian/pool/main/h/hello/hello_2.10_amd64.deb version 0" {
				t.Errorf("%d %q", status, body)
			}
		})
	}
	wait.Wait()
	m.version.Store(1)
	get("/debian/pool/main/h/hello/hello_2.10_amd64.deb")
	if n := m.downloads.Load(); n != 1 {
		t.Errorf("%d downloads, want 1", n)
	}
}

func TestIndexIsRevalidatedOnEachRequest(t *testing.T) {
	m := startMirror(t)
	get := serve(t, m)
	get("/debian/dists/trixie/InRelease")
	get("/debian/dists/trixie/InRelease")
	if n := m.downloads.Load(); n != 1 {
		t.Errorf("%d downloads of an unchanged index, want 1", n)
	}
	m.version.Store(1)
	if _, body := get("/debian/dists/trixie/InRelease"); body != "/debian/dists/trixie/InRelease version 1" {
		t.Errorf("after a change: %q", body)
	}
}

func TestCachedFileIsServedWhileTheMirrorIsDown(t *testing.T) {
	m := startMirror(t)
	get := serve(t, m)
	get("/debian/dists/trixie/InRelease")
	m.Close()
	if status, _ := get("/debian/dists/trixie/InRelease"); status != 200 {
		t.Errorf("cached index: status %d, want 200", status)
	}
	if status, _ := get("/debian/dists/trixie/Release"); status != http.StatusBadGateway {
		t.Errorf("index that is not cached: status %d, want 502", status)
	}
}

func TestAbsentFilesAndPathTraversalAreNotFound(t *testing.T) {
	m := startMirror(t)
	get := serve(t, m)
	if status, _ := get("/debian/absent"); status != 404 {
		t.Errorf("absent file: status %d, want 404", status)
	}
	if status, _ := get("/debian/pool/%2e%2e/%2e%2e/%2e%2e/etc/passwd"); status != 404 {
		t.Errorf("a path with ..: status %d, want 404", status)
	}
}
