// Package dbready keeps patroni.service from counting as started until this node
// leads or follows: whoever exchanges database nodes one by one goes on to the
// primary only once there is a replica that can take over without loss.
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

	"github.com/xeroops/xeroops/node/internal/instance"
)

const (
	clusterURL     = "http://127.0.0.1:8008/cluster"
	pause          = 500 * time.Millisecond
	requestTimeout = 5 * time.Second
)

// Command is `xeroops-node database-ready`, which runs behind Patroni's start. It
// waits as long as it takes: the first copy of a large database takes hours.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "database-ready",
		Short: "Wait until the database here is the primary, or a replica in a cluster that can lose the primary",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			i, err := instance.Load()
			if err != nil {
				return err
			}
			log := hclog.New(&hclog.LoggerOptions{Name: "database-ready", DisableTime: true})
			return wait(c.Context(), clusterURL, i.Node, log)
		},
	}
}

// wait returns nil once the node is ready, and logs what it waits for.
func wait(ctx context.Context, url, node string, log hclog.Logger) error {
	said := ""
	for {
		members, err := ask(ctx, url)
		if err == nil {
			err = lacks(members, node)
		}
		if err == nil {
			return nil
		}
		if said != err.Error() {
			said = err.Error()
			log.Info("not yet", "because", said)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the database of %s: %w; at last: %w", node, ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// member is one of Patroni's GET /cluster.
type member struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	State string `json:"state"`
}

func ask(ctx context.Context, url string) (members []member, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, errors.New("no answer from Patroni")
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	var answer struct {
		Members []member `json:"members"`
	}
	err = json.NewDecoder(res.Body).Decode(&answer)
	return answer.Members, err
}

// lacks says what a node still waits for; nil if nothing.
func lacks(members []member, node string) error {
	at := slices.IndexFunc(members, func(m member) bool { return m.Name == node })
	if at < 0 {
		return errors.New("not in Patroni's cluster")
	}
	switch me := members[at]; {
	case me.Role == "leader" && me.State == "running":
		return nil
	case me.State != "streaming":
		return fmt.Errorf("PostgreSQL neither leads nor follows: it is %s, %s", me.Role, me.State)
	case !slices.ContainsFunc(members, func(m member) bool { return m.Role == "sync_standby" && m.State == "streaming" }):
		return errors.New("no replica that the primary waits for before it acknowledges")
	}
	return nil
}
