//go:build linux

package routing

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/node/internal/configure"
)

// startEdge starts Debian 13's nginx before HAProxy, with the configuration of an edge but
// without TLS, and returns its address.
func (f *fixture) startEdge() string {
	f.t.Helper()
	rendered := filepath.Join(f.dir, "rendered")
	if _, err := configure.RenderSample(cluster.RoleLoadBalancer, rendered); err != nil {
		f.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(rendered, "etc/nginx/nginx.conf"))
	if err != nil {
		f.t.Fatal(err)
	}
	address := f.network + "251:8080"
	config := regexp.MustCompile(`(?m)^\tserver \{\n\t\tlisten 80 [^}]*\}|^\s*(?:ssl_\w+|listen \[::\]|include /etc/nginx/(?:waf|conf)\.d)[^;]*;`).ReplaceAllString(string(text), "")
	config = strings.NewReplacer("10.0.2.20:5001", f.settings.Applications, "listen 443 ssl", "listen "+address,
		"/run/nginx.pid", filepath.Join(f.dir, "nginx.pid"), "/var/log/nginx/", f.dir+"/").Replace(config)
	file := filepath.Join(f.dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		f.t.Fatal(err)
	}
	nginx := debiantree.Command(f.t, "nginx", "-c", file, "-g", "daemon off; master_process off;") // workers outlive a master that is killed
	nginx.Stdout, nginx.Stderr = testWriter{f.t}, testWriter{f.t}
	if err := nginx.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = nginx.Process.Kill()
		_ = nginx.Wait()
	})
	f.await("nginx to answer", func() bool {
		conn, err := net.Dial("tcp", address)
		return err == nil && conn.Close() == nil
	})
	return address
}

// sizes answers with the size of the request's header, in a header of the size in bytes
// that the path names, as in /api/shop/16000.
func sizes(w http.ResponseWriter, r *http.Request) {
	size, _ := strconv.Atoi(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
	w.Header().Set("X-Big", strings.Repeat("h", size))
	received := 0
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Sent") {
			received += len(strings.Join(values, ""))
		}
	}
	_, _ = fmt.Fprint(w, received)
}

// edge starts the application shop, which answers as [sizes] does, behind HAProxy and nginx.
func edge(t *testing.T) (address string) {
	t.Helper()
	f := newFixture(t)
	f.serve("app1", f.add("app1", cluster.RoleApp)+":8000", http.HandlerFunc(sizes))
	f.beat("app1", registry.NodeReady, application("shop", 8000))
	f.start()
	f.await("app1 to be up", func() bool { return f.up("app_shop", "app1") })
	return f.startEdge()
}

func TestHeadersOf16KiBPassFromTheEdgeToTheApplication(t *testing.T) {
	address := edge(t)
	protocols := map[string]*http.Transport{"HTTP/1.1": {}, "HTTP/2": {Protocols: new(http.Protocols)}}
	protocols["HTTP/2"].Protocols.SetUnencryptedHTTP2(true)
	const kib = 1 << 10
	for name, transport := range protocols {
		client := http.Client{Transport: transport, Timeout: 10 * time.Second}
		for _, test := range []struct {
			what        string
			count, each int // headers of the request, and their size
			query       int // size of the query
			response    int // size of the response's header
		}{
			{"plain", 1, 10, 10, 10},
			{"response of 4 KiB", 1, 10, 10, 4 * kib},
			{"response of 16 KiB", 1, 10, 10, 16 * kib},
			{"request of 3 × 7 KB", 3, 7000, 10, 10},
			{"request with a header of 16 KB", 1, 16000, 10, 10},
			{"request with 300 headers", 300, 40, 10, 10},
			{"request with a URL of 16 KB", 1, 10, 16000, 10},
		} {
			url := fmt.Sprintf("http://%s/api/shop/%d?%s", address, test.response, strings.Repeat("q", test.query))
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			for n := range test.count {
				request.Header.Set(fmt.Sprintf("X-Sent-%d", n), strings.Repeat("s", test.each))
			}
			response, err := client.Do(request)
			if err != nil {
				t.Errorf("%s, %s: %v", name, test.what, err)
				continue
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if want := strconv.Itoa(test.count * test.each); err != nil || response.StatusCode != 200 || string(body) != want || len(response.Header.Get("X-Big")) != test.response {
				t.Errorf("%s, %s: status %d, %d bytes of the response's header, body %.100q, %v; want 200, %d, %s",
					response.Proto, test.what, response.StatusCode, len(response.Header.Get("X-Big")), body, err, test.response, want)
			}
		}
		transport.CloseIdleConnections()
	}
}

func TestTimeoutOfAnApplicationIsItsOwn(t *testing.T) {
	f := newFixture(t)
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(3 * time.Second):
		case <-r.Context().Done():
		}
	})
	f.serve("app1", f.add("app1", cluster.RoleApp)+":8000", slow)
	hasty, patient := application("hasty", 8000), application("patient", 8000)
	hasty.Timeout = 1
	f.beat("app1", registry.NodeReady, hasty, patient)
	f.start()
	f.await("app1 to be up", func() bool { return f.up("app_hasty", "app1") && f.up("app_patient", "app1") })
	address := f.startEdge()
	for name, want := range map[string]int{"hasty": http.StatusGatewayTimeout, "patient": http.StatusOK} {
		response, err := http.Get("http://" + address + "/api/" + name)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", name, response.StatusCode, want)
		}
	}
	config, err := os.ReadFile(filepath.Join(f.dir, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	edge, err := time.ParseDuration(regexp.MustCompile(`proxy_read_timeout (\w+);`).FindStringSubmatch(string(config))[1])
	if longest := time.Hour; err != nil || edge <= longest {
		t.Errorf("the edge waits %s, %v; want more than HAProxy's longest timeout, %s", edge, err, longest)
	}
}

func TestErrorsOfEdgeAndBalancerAreJSON(t *testing.T) {
	address := edge(t)
	long := strings.Repeat("x", 40000)
	type sent struct {
		request string
		status  int // 0: any
	}
	tests := []sent{
		{"GET /api/none HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"GET /api/shop/1 HTTP/1.1\r\nHost: x\r\nX-Long: " + long + "\r\n\r\n", 431},
		{"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + long + "\r\n\r\n", 431},
		{"GET /api/shop/1 HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Long: "+long[:7000]+"\r\n", 20) + "\r\n", 431},
		{"GET /api/shop/1 HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 2000) + "\r\n", 431},
		{"GET /api/shop/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
		{"POST /api/shop/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413},
		{"POST /api/shop/1 HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400},
		{"POST /api/shop/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		{"GET /api/shop/1 HTTP/1.1\r\n\r\n", 400},
		{"GET /api/shop/1 HTTP/1.0\r\n\r\n", 200},
		{"GET /api/shop/1 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", 200},
		{"GET /api/shop/1 HTTP/7.1\r\nHost: x\r\n\r\n", 505},
		{"TRACE /api/shop/1 HTTP/1.1\r\nHost: x\r\n\r\n", 405},
		{"GET /api/shop/1 HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 200},
		{"GET /api/../../etc HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET /api/shop/40000 HTTP/1.1\r\nHost: x\r\n\r\n", 502},
		{"GET /api/shop/50000 HTTP/1.1\r\nHost: x\r\n\r\n", 502},
	}
	for c := 1; c < 256; c++ {
		if c == 10 { // the end of a line
			continue
		}
		value := string([]byte{byte(c)})
		tests = append(tests, sent{"GET /api/shop/1?" + value + " HTTP/1.1\r\nHost: x\r\n\r\n", 0}, sent{"GET /api/shop/1 HTTP/1.1\r\nHost: x\r\nX: " + value + "\r\n\r\n", 0},
			sent{"GET /api/shop/1 HTTP/1.1\r\nHost: x\r\nX" + value + ": x\r\n\r\n", 0}, sent{"GET" + value + " /api/shop/1 HTTP/1.1\r\nHost: x\r\n\r\n", 0}, sent{"GET /api/shop/1 HTTP/1.1\r\nHost: x" + value + "\r\n\r\n", 0})
	}
	for _, test := range tests {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, test.request) // the answer may precede its end
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%.60q: %v", test.request, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = conn.Close()
		var content struct{ Error string }
		if err == nil && response.StatusCode == http.StatusOK && (test.status == 0 || test.status == response.StatusCode) {
			continue
		}
		if err != nil || test.status != 0 && response.StatusCode != test.status || response.Header.Get("Content-Type") != "application/json" ||
			json.Unmarshal(bytes.TrimSpace(body), &content) != nil || content.Error == "" {
			t.Errorf("%.60q: status %s, %s %q, %v; want %d with a JSON error", test.request, response.Status, response.Header.Get("Content-Type"), body, err, test.status)
		}
	}
}
