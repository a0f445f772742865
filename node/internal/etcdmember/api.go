package etcdmember

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/xeroops/xeroops/node/internal/nodetls"
)

// Member is a member in etcd's list. One that has not started yet has no client URLs, and
// no name unless it is one of the cluster's first members.
type Member struct {
	ID         string   `json:"ID"` // decimal, in version 3 of the API
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

func (m Member) started() bool { return len(m.ClientURLs) > 0 }

// requestTimeout exceeds etcd's own timeout of a change, which is 7 s with the default
// election timeout.
const requestTimeout = 8 * time.Second

// localTimeout limits requests that a member answers without the others.
const localTimeout = 2 * time.Second

// members returns the members that a node knows. It uses the peer port, which answers even
// without a quorum.
func (d Decision) members(ctx context.Context, n Node) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peerURL(n.Address)+"/members", nil)
	if err != nil {
		return nil, err
	}
	// The ID, a number in this response, exceeds a float64 and is not needed.
	var list []struct {
		Name       string   `json:"name"`
		PeerURLs   []string `json:"peerURLs"`
		ClientURLs []string `json:"clientURLs"`
	}
	if err := d.do(req, &list); err != nil {
		return nil, err
	}
	var all []Member
	for _, m := range list {
		all = append(all, Member{Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	}
	return all, nil
}

// agreedBy returns the list of members that a quorum agrees on.
func (d Decision) agreedBy(ctx context.Context, n Node) ([]Member, error) {
	return d.call(ctx, n, "list", map[string]any{"linearizable": true})
}

// remove removes a member and returns those that are left.
func (d Decision) remove(ctx context.Context, n Node, m Member) ([]Member, error) {
	return d.call(ctx, n, "remove", map[string]any{"ID": m.ID})
}

// add adds this node as a member and returns all members.
func (d Decision) add(ctx context.Context, n Node) ([]Member, error) {
	return d.call(ctx, n, "add", map[string]any{"peerURLs": []string{peerURL(d.Self.Address)}})
}

// call calls a method of etcd's cluster API in JSON. All responses have the resulting
// members.
func (d Decision) call(ctx context.Context, n Node, method string, body map[string]any) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, clientURL(n.Address)+"/v3/cluster/member/"+method, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Members []Member `json:"members"`
	}
	if err := d.do(req, &answer); err != nil {
		return nil, fmt.Errorf("member %s through etcd on %s: %w", method, n.Name, err)
	}
	return answer.Members, nil
}

func (d Decision) do(req *http.Request, answer any) (err error) {
	config, err := nodetls.MutualClient(d.TLS.CA, d.TLS.Certificate)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body))
	}
	return json.Unmarshal(body, answer)
}
