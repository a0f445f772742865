//go:build linux

package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/xeroops/xeroops/lab/internal/reconcile"
)

// ErrDown reports that the lab has no supervisor that answers.
var ErrDown = errors.New("the lab is not running")

// Client talks to a lab's supervisor.
type Client struct {
	config Config
	http   http.Client
}

// NewClient returns a client for the lab named by c, of which only Name and RunRoot
// are used.
func NewClient(c Config) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", c.socket())
	}
	return &Client{config: c, http: http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// State returns the state of the lab.
func (c *Client) State(ctx context.Context) (State, error) {
	return get[State](ctx, c, http.MethodGet, "/state", nil)
}

// Instances lists the lab's instances.
func (c *Client) Instances(ctx context.Context) ([]reconcile.Status, error) {
	return get[[]reconcile.Status](ctx, c, http.MethodGet, "/instances", nil)
}

// Down asks the supervisor to stop the lab. It returns before the lab is gone.
func (c *Client) Down(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/down", nil, nil)
}

// Inject injects or ends a fault.
func (c *Client) Inject(ctx context.Context, f Fault) error {
	return c.call(ctx, http.MethodPost, "/faults", f, nil)
}

// ImportImages registers cached images in the account. It returns AMI ids by content
// digest, without the digests that the cache lacks.
func (c *Client) ImportImages(ctx context.Context, contents []string) (map[string]string, error) {
	return get[map[string]string](ctx, c, http.MethodPost, "/images", contents)
}

// Forward starts a forward, unless the lab has it already, and returns the address
// that it listens on.
func (c *Client) Forward(ctx context.Context, f Forward) (address string, err error) {
	return get[string](ctx, c, http.MethodPost, "/forwards", f)
}

// get makes a call and returns its decoded result.
func get[Out any](ctx context.Context, c *Client, method, path string, in any) (out Out, err error) {
	err = c.call(ctx, method, path, in, &out)
	return out, err
}

// call sends in as JSON and decodes the response into out, unless out is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := c.http.Do(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w (no answer on %s); start it with: xeroops-lab up", ErrDown, c.config.socket())
	}
	if err != nil {
		return fmt.Errorf("call lab %s: %w", c.config.Name, err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("call lab %s: %w", c.config.Name, err)
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(content)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(content, out)
}
