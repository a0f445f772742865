// Package dbready delays the start of patroni.service until the local PostgreSQL is the
// primary or a replica. A rolling replacement of the database nodes therefore replaces the
// primary only when a replica can take over without data loss.
package dbready

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/journal"
	"github.com/xeroops/xeroops/node/internal/nodetls"
)

const (
	patroni        = "https://127.0.0.1:8008"
	pollInterval   = 500 * time.Millisecond
	requestTimeout = 5 * time.Second
)

// Command returns `xeroops-node database-ready`, which runs after Patroni has started. It
// has no timeout, since the initial copy of a large database takes hours.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "database-ready",
		Short: "Wait until the local database is the primary, or a replica in a cluster that tolerates the loss of the primary",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			i, err := instance.Load()
			if err != nil {
				return err
			}
			p := patroniAPI{url: patroni, ca: nodetls.CA, node: i.Node}
			return p.wait(c.Context(), journal.NewLogger("database-ready"))
		},
	}
}

// patroniAPI is the REST API of the local Patroni, whose certificate has the node's name.
type patroniAPI struct{ url, ca, node string }

// wait returns once the node is ready, and logs what it is waiting for.
func (p patroniAPI) wait(ctx context.Context, log hclog.Logger) error {
	var unready journal.Problem
	for {
		err := p.check(ctx)
		if err == nil {
			return nil
		}
		unready.Set(log, "waiting for the database", err, "node", p.node)
		if !backoff.Sleep(ctx, pollInterval) {
			return fmt.Errorf("wait for the database of %s: %w; last error: %w", p.node, ctx.Err(), err)
		}
	}
}

// member is a member in the response to Patroni's GET /cluster.
type member struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	State string `json:"state"`
}

func (p patroniAPI) check(ctx context.Context) error {
	var cluster struct {
		Members []member `json:"members"`
	}
	if err := p.get(ctx, "/cluster", &cluster); err != nil {
		return err
	}
	var config struct {
		Synchronous any `json:"synchronous_mode"` // true, false or "quorum"; an operator may turn it off
	}
	if err := p.get(ctx, "/config", &config); err != nil {
		return err
	}
	return checkMember(cluster.Members, p.node, config.Synchronous != nil && config.Synchronous != false)
}

func (p patroniAPI) get(ctx context.Context, path string, answer any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	config, err := nodetls.Client(p.ca, p.node)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("Patroni is not answering: %w", err) //nolint:staticcheck // a name
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	return json.NewDecoder(res.Body).Decode(answer)
}

// checkMember returns an error with what a node is waiting for, or nil if it is ready.
func checkMember(members []member, node string, synchronous bool) error {
	at := slices.IndexFunc(members, func(m member) bool { return m.Name == node })
	if at < 0 {
		return errors.New("the node has not joined Patroni's cluster")
	}
	switch self := members[at]; {
	case self.Role == "leader" && self.State == "running":
		return nil
	case self.State != "streaming":
		return fmt.Errorf("PostgreSQL is not ready: role %s, state %s", self.Role, self.State)
	case synchronous && !slices.ContainsFunc(members, isSynchronous):
		return errors.New("the primary has no synchronous replica")
	}
	return nil
}

func isSynchronous(m member) bool {
	return (m.Role == "sync_standby" || m.Role == "quorum_standby") && m.State == "streaming"
}
