// Package aptproxy serves a Debian mirror to the lab's machines: it is a caching proxy
// for the mirror that the host uses. Immutable files (packages, and indexes by hash)
// are downloaded once. Others are revalidated on each request, and served from the
// cache while the mirror is unreachable.
package aptproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/singleflight"
)

// stallTimeout limits the wait for the mirror's response headers. apt's own timeout
// is 30 s.
const stallTimeout = 25 * time.Second

// Proxy is a caching HTTP proxy for one mirror host.
type Proxy struct {
	mirror *url.URL
	dir    string
	client *http.Client
	log    hclog.Logger
	flight singleflight.Group
}

// New returns a proxy for the host of a mirror's URL with a cache in dir. It uses the
// HTTP proxy that the host's apt is configured with, if any.
func New(ctx context.Context, mirror, dir string, log hclog.Logger) (*Proxy, error) {
	parsed, err := url.Parse(mirror)
	if err != nil || parsed.Host == "" || !strings.HasPrefix(parsed.Scheme, "http") {
		return nil, fmt.Errorf("serve the Debian mirror: %q is not an http or https URL; set one with --mirror", mirror)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = stallTimeout
	if proxy := hostProxy(ctx, parsed.Scheme); proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
	}
	return &Proxy{mirror: parsed, dir: dir, client: &http.Client{Transport: transport}, log: log}, nil
}

// Host returns the host name of the mirror.
func (p *Proxy) Host() string { return p.mirror.Hostname() }

// hostProxy returns the HTTP proxy of the host's apt configuration, or nil.
func hostProxy(ctx context.Context, scheme string) *url.URL {
	out, err := exec.CommandContext(ctx, "apt-config", "shell", "proxy", "Acquire::"+scheme+"::Proxy").Output()
	if err != nil {
		return nil // apt is not installed
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
	proxy, err := url.Parse(strings.Trim(value, "'"))
	if err != nil || proxy.Host == "" {
		return nil // no proxy is configured, or DIRECT
	}
	return proxy
}

// ServeHTTP serves a file of the mirror.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "the mirror is read-only; use GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	name := r.URL.Path
	if path.Clean(name) != name {
		http.Error(w, "the lab's mirror has files only, no listings", http.StatusNotFound)
		return
	}
	file := filepath.Join(p.dir, p.mirror.Hostname(), filepath.FromSlash(name))
	if _, err := os.Stat(file); err != nil || !immutable(name) {
		// Concurrent requests for the file share one download, which goes on if the
		// first client disconnects.
		_, err, _ := p.flight.Do(name, func() (any, error) {
			return nil, p.fetch(context.WithoutCancel(r.Context()), name, file)
		})
		if err != nil {
			p.refuse(w, name, err)
			return
		}
	}
	// ServeFile redirects requests for index.html; the cache has no such files.
	http.ServeFile(w, r, file)
}

// statusError is an error status from the mirror.
type statusError struct{ status int }

func (e statusError) Error() string { return fmt.Sprintf("the mirror answered %d", e.status) }

func (p *Proxy) refuse(w http.ResponseWriter, name string, err error) {
	var refused statusError
	if errors.As(err, &refused) && refused.status < http.StatusInternalServerError {
		http.Error(w, err.Error(), refused.status)
		return
	}
	p.log.Error("Debian mirror is unreachable", "url", p.url(name), "error", err)
	http.Error(w, err.Error(), http.StatusBadGateway)
}

// immutable reports whether the content of a file never changes: names of packages
// have a version, names of indexes by hash a checksum.
func immutable(name string) bool {
	return strings.Contains(name, "/pool/") || strings.Contains(name, "/by-hash/")
}

func (p *Proxy) url(name string) string {
	return (&url.URL{Scheme: p.mirror.Scheme, Host: p.mirror.Host, Path: name}).String()
}

// fetch downloads name to file, unless the cached file is current or the mirror is
// unreachable.
func (p *Proxy) fetch(ctx context.Context, name, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(name), nil)
	if err != nil {
		return err
	}
	cached, statErr := os.Stat(file)
	if statErr == nil {
		request.Header.Set("If-Modified-Since", cached.ModTime().UTC().Format(http.TimeFormat))
	}
	answer, err := p.client.Do(request)
	if err != nil {
		if statErr == nil {
			p.log.Warn("Debian mirror is unreachable, serving cached file", "url", p.url(name), "error", err)
			return nil
		}
		return err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusNotModified:
		return nil
	case http.StatusOK:
		return store(answer, file)
	case http.StatusNotFound, http.StatusGone:
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s from the cache: %w", file, err)
		}
	}
	return statusError{answer.StatusCode}
}

// store writes a response to a file atomically, with the Last-Modified time as its
// modification time.
func store(answer *http.Response, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("cache %s: %w", answer.Request.URL, err)
	}
	part, err := os.CreateTemp(filepath.Dir(file), ".part-*")
	if err != nil {
		return fmt.Errorf("cache %s: %w", answer.Request.URL, err)
	}
	defer os.Remove(part.Name()) // has no effect after the rename
	_, err = io.Copy(part, answer.Body)
	if closed := part.Close(); err == nil {
		err = closed
	}
	if err == nil {
		if modified, unparsable := http.ParseTime(answer.Header.Get("Last-Modified")); unparsable == nil {
			err = os.Chtimes(part.Name(), modified, modified)
		}
	}
	if err == nil {
		err = os.Rename(part.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("cache %s: %w", answer.Request.URL, err)
	}
	return nil
}
