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

	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/instance"
)

const (
	patroni        = "http://127.0.0.1:8008"
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
			return wait(c.Context(), patroni, i.Node, log)
		},
	}
}

// wait returns nil once the node is ready, and logs what it waits for.
func wait(ctx context.Context, url, node string, log hclog.Logger) error {
	said := ""
	for {
		err := check(ctx, url, node)
		if err == nil {
			return nil
		}
		if said != err.Error() {
			said = err.Error()
			log.Info("not yet", "because", said)
		}
		if !backoff.Sleep(ctx, pause) {
			return fmt.Errorf("wait for the database of %s: %w; at last: %w", node, ctx.Err(), err)
		}
	}
}

// member is one of Patroni's GET /cluster.
type member struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	State string `json:"state"`
}

func check(ctx context.Context, url, node string) error {
	var cluster struct {
		Members []member `json:"members"`
	}
	if err := get(ctx, url+"/cluster", &cluster); err != nil {
		return err
	}
	var config struct {
		Synchronous any `json:"synchronous_mode"` // true, false or "quorum"; an operator may turn it off
	}
	if err := get(ctx, url+"/config", &config); err != nil {
		return err
	}
	return lacks(cluster.Members, node, config.Synchronous != nil && config.Synchronous != false)
}

func get(ctx context.Context, url string, answer any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.New("no answer from Patroni")
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	return json.NewDecoder(res.Body).Decode(answer)
}

// lacks says what a node still waits for; nil if nothing.
func lacks(members []member, node string, synchronous bool) error {
	at := slices.IndexFunc(members, func(m member) bool { return m.Name == node })
	if at < 0 {
		return errors.New("not in Patroni's cluster")
	}
	switch me := members[at]; {
	case me.Role == "leader" && me.State == "running":
		return nil
	case me.State != "streaming":
		return fmt.Errorf("PostgreSQL neither leads nor follows: it is %s, %s", me.Role, me.State)
	case synchronous && !slices.ContainsFunc(members, isWaitedFor):
		return errors.New("no replica that the primary waits for before it acknowledges")
	}
	return nil
}

func isWaitedFor(m member) bool {
	return (m.Role == "sync_standby" || m.Role == "quorum_standby") && m.State == "streaming"
}
