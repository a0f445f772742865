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

// ErrDown says that the lab has no supervisor that answers.
var ErrDown = errors.New("the lab is not running")

// Client talks to a lab's supervisor.
type Client struct {
	config Config
	http   http.Client
}

// NewClient returns a client of the lab of a name; only the configuration's name
// and run folder matter.
func NewClient(c Config) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", c.socket())
	}
	return &Client{config: c, http: http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// State asks how far the lab is.
func (c *Client) State(ctx context.Context) (State, error) {
	return ask[State](ctx, c, http.MethodGet, "/state", nil)
}

// Instances asks for the lab's instances.
func (c *Client) Instances(ctx context.Context) ([]reconcile.Status, error) {
	return ask[[]reconcile.Status](ctx, c, http.MethodGet, "/instances", nil)
}

// Down tells the lab to end.
func (c *Client) Down(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/down", nil, nil)
}

// Inject breaks, or mends, something.
func (c *Client) Inject(ctx context.Context, f Fault) error {
	return c.call(ctx, http.MethodPost, "/faults", f, nil)
}

// ImportImages takes images from the cache into the account, by the sums of what
// they were made of, and returns the ids of those that the cache has.
func (c *Client) ImportImages(ctx context.Context, contents []string) (map[string]string, error) {
	return ask[map[string]string](ctx, c, http.MethodPost, "/images", contents)
}

// Forward makes a port of a role's public address reachable on the host.
func (c *Client) Forward(ctx context.Context, f Forward) error {
	return c.call(ctx, http.MethodPost, "/forwards", f, nil)
}

// ask is call for an answer.
func ask[Out any](ctx context.Context, c *Client, method, path string, in any) (out Out, err error) {
	err = c.call(ctx, method, path, in, &out)
	return out, err
}

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
		return fmt.Errorf("ask lab %s: %w", c.config.Name, err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("ask lab %s: %w", c.config.Name, err)
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(content)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(content, out)
}
