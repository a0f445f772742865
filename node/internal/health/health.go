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
	"github.com/xeroops/xeroops/node/internal/nodetls"
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
	p := prober{ca: nodetls.CA, gateway: etcdGateway}
	var wait sync.WaitGroup
	for n, s := range services {
		wait.Go(func() {
			unit := units[s.Unit]
			results[n] = registry.ServiceHealth{Name: s.Name, State: unit.Active, Detail: conn.Diagnose(ctx, unit)}
			if results[n].Detail == "" {
				results[n].Healthy, results[n].Detail = p.probe(ctx, s)
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

// etcdGateway is where etcd listens on a node that is no member (package etcdmember).
const etcdGateway = loopback + ":2379"

// prober sends health checks.
type prober struct {
	ca      string // file that verifies the services with TLS
	gateway string // address of the gateway to etcd
}

// probe sends the service its health check. detail is why it is not healthy.
func (p prober) probe(ctx context.Context, s cluster.Service) (healthy bool, detail string) {
	address := net.JoinHostPort(loopback, strconv.Itoa(int(s.Health.Port)))
	var err error
	switch s.Health.Type {
	case "tcp":
		err = checkTCP(ctx, address)
	case "http":
		_, err = get(ctx, &http.Transport{}, "http://"+address+s.Health.Path)
	case "https":
		return p.probeTLS(ctx, s, "https://"+address)
	case "etcd":
		if err = checkTCP(ctx, p.gateway); err != nil { // it is a member
			_, err = get(ctx, &http.Transport{}, "http://"+address+s.Health.Path)
		}
	}
	if err != nil {
		return false, err.Error()
	}
	return true, ""
}

// probeTLS checks a service with TLS, which has the name of its role, and returns
// PostgreSQL's role as the detail.
func (p prober) probeTLS(ctx context.Context, s cluster.Service, url string) (healthy bool, detail string) {
	config, err := nodetls.Client(p.ca, string(s.Roles[0]))
	if err != nil {
		return false, err.Error()
	}
	transport := &http.Transport{TLSClientConfig: config}
	if _, err := get(ctx, transport, url+s.Health.Path); err != nil {
		return false, err.Error()
	}
	if s.Name == Postgres {
		detail = postgresRole(ctx, transport, url)
	}
	return true, detail
}

func checkTCP(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// get returns the body of a response with status 2xx. It opens a connection for each
// request, to check that the service accepts it.
func get(ctx context.Context, transport *http.Transport, url string) ([]byte, error) {
	transport.DisableKeepAlives = true
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", url, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return nil, fmt.Errorf("GET %s: status %d", url, res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, 64<<10))
}

// postgresRole returns the role that Patroni reports, such as primary or replica, or ""
// if it reports none.
func postgresRole(ctx context.Context, transport *http.Transport, patroni string) string {
	body, err := get(ctx, transport, patroni+"/patroni")
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
