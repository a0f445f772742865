// Package health checks a node's services as service-ports.json defines: the state of
// the unit, then a connection or a request on loopback. Boot waits for the services to
// be healthy, and discovery publishes the results.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

// Timeout limits a check. All services are checked concurrently.
const Timeout = 3 * time.Second

// Postgres is the service whose Detail is primary or replica while it is healthy, as
// reported by Patroni's REST API.
const Postgres = "postgresql"

const loopback = "127.0.0.1"

// Check returns the health of the services, in their order, within [Timeout]. A service
// whose state could not be determined is not healthy.
func Check(ctx context.Context, services []cluster.Service) []registry.ServiceHealth {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	results := make([]registry.ServiceHealth, len(services))
	conn, err := systemd.Connect(ctx)
	if err != nil {
		return unknown(services, err)
	}
	defer conn.Close()
	units, err := conn.Units(ctx, unitNames(services))
	if err != nil {
		return unknown(services, err)
	}
	var wait sync.WaitGroup
	for n, s := range services {
		wait.Go(func() {
			unit := units[s.Unit]
			results[n] = registry.ServiceHealth{Name: s.Name, State: unit.Active, Detail: conn.Diagnose(ctx, unit)}
			if results[n].Detail == "" {
				results[n].Healthy, results[n].Detail = probe(ctx, s)
			}
		})
	}
	wait.Wait()
	return results
}

func unitNames(services []cluster.Service) []string {
	var names []string
	for _, s := range services {
		names = append(names, s.Unit)
	}
	return names
}

func unknown(services []cluster.Service, err error) []registry.ServiceHealth {
	var all []registry.ServiceHealth
	for _, s := range services {
		all = append(all, registry.ServiceHealth{Name: s.Name, State: "unknown", Detail: err.Error()})
	}
	return all
}

// probe sends the service its health check. detail is why it is not healthy.
func probe(ctx context.Context, s cluster.Service) (healthy bool, detail string) {
	address := net.JoinHostPort(loopback, strconv.Itoa(int(s.Health.Port)))
	var err error
	switch s.Health.Type {
	case "tcp":
		err = checkTCP(ctx, address)
	case "http":
		err = checkHTTP(ctx, "http://"+address+s.Health.Path)
	}
	if err != nil {
		return false, err.Error()
	}
	if s.Name == Postgres {
		return true, postgresRole(ctx, "http://"+address)
	}
	return true, ""
}

func checkTCP(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// client opens a connection for each request, to check that the service accepts it.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func get(ctx context.Context, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, body, err
}

func checkHTTP(ctx context.Context, url string) error {
	status, _, err := get(ctx, url)
	if err != nil {
		return err
	}
	if status < 200 || status > 299 {
		return fmt.Errorf("GET %s: status %d", url, status)
	}
	return nil
}

// postgresRole returns the role that Patroni reports, such as primary or replica, or ""
// if it reports none.
func postgresRole(ctx context.Context, patroni string) string {
	_, body, err := get(ctx, patroni+"/patroni")
	if err != nil {
		return ""
	}
	var answer struct {
		Role string `json:"role"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	if answer.Role == "master" { // Patroni before 4
		return "primary"
	}
	return answer.Role
}
