//go:build linux

package edgecert

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/node/internal/configure"
)

// TestMain makes a copy of this binary behave as the application behind the edge.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "application" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, http.ListenAndServe("10.0.2.20:5001", http.HandlerFunc(echo))) //nolint:gosec // in a test
	os.Exit(1)
}

// echo answers with the request's headers and the status that the path names.
func echo(w http.ResponseWriter, r *http.Request) {
	if _, status, found := strings.Cut(r.URL.Path, "/status/"); found {
		code, _ := strconv.Atoi(status)
		w.WriteHeader(code)
		_, _ = fmt.Fprintln(w, "status", code)
	}
	_ = r.Header.Write(w)
}

func TestEdgeServesFilesAndProxiesRequests(t *testing.T) {
	dir := t.TempDir()
	if _, err := configure.RenderSample(cluster.RoleLoadBalancer, dir); err != nil {
		t.Fatal(err)
	}
	text, err := selfSign([]string{"198.51.100.1", "edge"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := split(text)
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{certificateFile: certificate, keyFile: key} {
		if err := write(filepath.Join(dir, path), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := filepath.Join(dir, "files")
	if err := os.CopyFS(files, os.DirFS("../../../templates/services/nginx/files")); err != nil {
		t.Fatal(err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	debiantree.Script(t, "testdata/edge.sh", dir, files, binary)
}
