//go:build linux

package pki

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

// TestTheClustersProgramsTakeTheCertificates has each program verify a client, and
// the client the program, with the certificate and its key in one file.
func TestTheClustersProgramsTakeTheCertificates(t *testing.T) {
	debiantree.Path(t)
	authority, err := NewAuthority("production", Nodes, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	server, ca := filepath.Join(dir, "node.pem"), filepath.Join(dir, "ca.pem")
	certificate, err := authority.Issue(db1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	content, err := certificate.PEM()
	if err != nil {
		t.Fatal(err)
	}
	edge, err := authority.Issue(lb1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	write(t, server, string(content))
	write(t, ca, string(Generations{authority}.Bundle()))
	trust := bundle(t, Generations{authority})
	client := &tls.Config{RootCAs: trust.Pool(), ServerName: "database", Certificates: []tls.Certificate{edge.TLS()}}
	stranger := &tls.Config{RootCAs: trust.Pool(), ServerName: "database"}

	for _, program := range []struct {
		name  string
		start func(port int) []string // its command line
		talk  func(conn net.Conn, port int) (string, error)
		want  string
	}{
		{"haproxy", func(port int) []string {
			path := filepath.Join(dir, "haproxy.cfg")
			write(t, path, fmt.Sprintf("defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\nfrontend f\n"+
				" bind 127.0.0.1:%d ssl crt %s ca-file %s verify required\n"+
				" http-request return status 200 content-type text/plain lf-string \"%%[ssl_c_s_dn(cn)] %%[ssl_c_s_dn(ou)]\"\n", port, server, ca))
			return []string{"haproxy", "-db", "-f", path}
		}, httpGet, "edge1 openresty-lb"},
		{"nginx", func(port int) []string {
			path := filepath.Join(dir, "nginx.conf")
			write(t, path, fmt.Sprintf("daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr; events {}\nhttp { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p;"+
				"fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n"+
				"server { listen 127.0.0.1:%[2]d ssl; ssl_certificate %[3]s; ssl_certificate_key %[3]s; ssl_client_certificate %[4]s; ssl_verify_client on;\n"+
				"location / { return 200 $ssl_client_s_dn; } } }\n", dir, port, server, ca))
			return []string{"nginx", "-c", path}
		}, httpGet, "CN=edge1,OU=openresty-lb,O=production"},
		{"redis-server", func(port int) []string {
			return []string{"redis-server", "--port", "0", "--bind", "127.0.0.1", "--save", "", "--tls-port", fmt.Sprint(port),
				"--tls-cert-file", server, "--tls-key-file", server, "--tls-ca-cert-file", ca, "--tls-auth-clients", "yes"}
		}, func(conn net.Conn, _ int) (string, error) {
			if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
				return "", err
			}
			answer := make([]byte, len("+PONG"))
			_, err := io.ReadFull(conn, answer)
			return string(answer), err
		}, "+PONG"},
		{"etcd", func(port int) []string {
			return []string{"etcd", "--data-dir", filepath.Join(dir, "etcd"), "--log-level", "error", "--client-cert-auth", "--trusted-ca-file", ca, "--cert-file", server, "--key-file", server,
				"--listen-client-urls", fmt.Sprintf("https://127.0.0.1:%d", port), "--advertise-client-urls", fmt.Sprintf("https://127.0.0.1:%d", port),
				"--listen-peer-urls", "http://127.0.0.1:0"}
		}, httpGet, "etcdserver"},
	} {
		t.Run(program.name, func(t *testing.T) {
			port := freePort(t)
			command := program.start(port)
			cmd := debiantree.Command(t, command[0], command[1:]...)
			var said strings.Builder
			cmd.Stdout, cmd.Stderr = &said, &said
			cmd.WaitDelay = time.Second
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Logf("it said:\n%s", said.String())
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var answer string
			for {
				var err error
				if answer, err = talk(ctx, port, client, program.talk); err == nil {
					break
				}
				select {
				case <-ctx.Done():
					t.Fatal(err)
				case <-time.After(50 * time.Millisecond):
				}
			}
			if !strings.Contains(answer, program.want) {
				t.Errorf("it answered %q, which has no %q", answer, program.want)
			}
			if answer, err := talk(ctx, port, stranger, program.talk); err == nil && strings.Contains(answer, program.want) {
				t.Errorf("without a certificate it answered %q", answer)
			}
		})
	}
}

func talk(ctx context.Context, port int, config *tls.Config, with func(net.Conn, int) (string, error)) (string, error) {
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	return with(conn, port)
}

func httpGet(conn net.Conn, port int) (string, error) {
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/version", port), nil)
	if err != nil {
		return "", err
	}
	request.Close = true
	if err := request.Write(conn); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
