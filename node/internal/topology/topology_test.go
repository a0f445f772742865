package topology

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/cluster"
)

var reference = cluster.Topology{Schema: cluster.TopologySchema, Cluster: "production", Nodes: []cluster.TopologyNode{
	{Name: "app1", Role: cluster.RoleApp, Address: "10.0.2.10"},
	{Name: "boss", Role: cluster.RoleManagement, Address: "10.0.2.20"},
	{Name: "boss2", Role: cluster.RoleManagement, Address: "10.0.2.21"},
}}

const block = hostsBegin + "10.0.2.10 app1.production.internal app1\n10.0.2.20 boss.production.internal boss management\n10.0.2.21 boss2.production.internal boss2\n" + hostsEnd

func TestHostsHasEveryNodeAndKeepsOtherLines(t *testing.T) {
	const others = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
	for name, text := range map[string]string{
		"written by user data":    others + "10.0.2.10 app1.production.internal app1\n10.0.2.99 gone.production.internal gone\n",
		"written before":          others + hostsBegin + "10.0.2.9 app9.production.internal app9\n" + hostsEnd,
		"without a final newline": strings.TrimSuffix(others, "\n"),
		"up to date":              others + block,
	} {
		if got := MergeHosts(text, reference); got != others+block {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
}

func TestHostsKeepsAddedLines(t *testing.T) {
	const added = "192.0.2.1 partner.example partner\n# a comment about app1.production.internal\n"
	if got := MergeHosts(block+added, reference); got != added+block {
		t.Errorf("got\n%s", got)
	}
}

func TestFilesAreWrittenOnAChangeOnly(t *testing.T) {
	dir := t.TempDir()
	files := Files{Topology: filepath.Join(dir, "topology.json"), Hosts: filepath.Join(dir, "hosts")}
	for n, want := range []bool{true, false} {
		if changed, err := files.Write(reference); err != nil || changed != want {
			t.Errorf("write %d: changed %t, %v", n+1, changed, err)
		}
	}
	if got, err := files.Read(); err != nil || got.Cluster != "production" || len(got.Nodes) != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := os.Remove(files.Hosts); err != nil {
		t.Fatal(err)
	}
	if changed, err := files.Write(reference); err != nil || !changed {
		t.Errorf("after a file was removed: changed %t, %v; want it written", changed, err)
	}
}

// bucket answers GetObject with a text, and 304 if the client has it.
func bucket(t *testing.T, text *string) *Source {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		etag := `"` + string(rune('a'+len(*text)%26)) + `"`
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", etag)
		_, _ = w.Write([]byte(*text))
	}))
	t.Cleanup(server.Close)
	client := s3.New(s3.Options{BaseEndpoint: &server.URL, Region: "eu-west-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "")})
	return &Source{S3: client, Bucket: "uploads", Key: cluster.Layout{Cluster: "production"}.Topology()}
}

func TestTopologyIsFetchedOnceUntilItChanges(t *testing.T) {
	encoded, err := json.Marshal(reference)
	if err != nil {
		t.Fatal(err)
	}
	text := string(encoded)
	source := bucket(t, &text)
	for n, want := range []bool{true, false, false} {
		got, changed, err := source.Fetch(t.Context())
		if err != nil || changed != want || (changed && len(got.Nodes) != 3) {
			t.Errorf("fetch %d: changed %t, %+v, %v", n+1, changed, got, err)
		}
	}
	text += " "
	if _, changed, err := source.Fetch(t.Context()); err != nil || !changed {
		t.Errorf("after a change: changed %t, %v", changed, err)
	}
}

func TestInvalidTopologyIsAnErrorEachTime(t *testing.T) {
	for _, text := range []string{"", "{}", `{"schema":1,"nodes":[]}`, `{"schema":99,"nodes":[{"name":"app1"}]}`, "<html>"} {
		source := bucket(t, &text)
		for range 2 {
			if got, changed, err := source.Fetch(t.Context()); err == nil {
				t.Errorf("%q: Fetch() = %+v, %t; want an error", text, got, changed)
			}
		}
	}
}
