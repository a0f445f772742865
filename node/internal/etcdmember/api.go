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
)

// Member is a member as etcd lists it. One that has not started yet has no
// client URLs, and no name unless the cluster began with it.
type Member struct {
	ID         string   `json:"ID"` // decimal, in the API of version 3
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

func (m Member) started() bool { return len(m.ClientURLs) > 0 }

// requestTimeout is beyond what etcd itself allows a change, 7 s with its
// default election timeout.
const requestTimeout = 8 * time.Second

// localTimeout is for what a member answers by itself.
const localTimeout = 2 * time.Second

// members asks the peer port of a node who it believes the members to be. It
// answers before there is a quorum, and also without one.
func members(ctx context.Context, n Node) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peerURL(n.Address)+"/members", nil)
	if err != nil {
		return nil, err
	}
	// There the ID is a number that JSON's float64 can't hold; it isn't needed.
	var list []struct {
		Name       string   `json:"name"`
		PeerURLs   []string `json:"peerURLs"`
		ClientURLs []string `json:"clientURLs"`
	}
	if err := do(req, &list); err != nil {
		return nil, err
	}
	var all []Member
	for _, m := range list {
		all = append(all, Member{Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	}
	return all, nil
}

// agreed asks a member for the list that a quorum agrees on.
func agreed(ctx context.Context, n Node) ([]Member, error) {
	return change(ctx, n, "list", map[string]any{"linearizable": true})
}

func remove(ctx context.Context, n Node, m Member) ([]Member, error) {
	return change(ctx, n, "remove", map[string]any{"ID": m.ID})
}

func add(ctx context.Context, n Node, self Node) ([]Member, error) {
	return change(ctx, n, "add", map[string]any{"peerURLs": []string{peerURL(self.Address)}})
}

// change posts to the JSON form of etcd's cluster API, whose answers all hold the
// members afterwards.
func change(ctx context.Context, n Node, what string, body map[string]any) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, clientURL(n.Address)+"/v3/cluster/member/"+what, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Members []Member `json:"members"`
	}
	if err := do(req, &answer); err != nil {
		return nil, fmt.Errorf("etcd of %s: member %s: %w", n.Name, what, err)
	}
	return answer.Members, nil
}

func do(req *http.Request, answer any) (err error) {
	resp, err := http.DefaultClient.Do(req)
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
