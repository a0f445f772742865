package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/xeroops/xeroops/templates"
)

// Who may connect to a port, besides the name of a role.
const (
	FromInternet = "internet" // any IPv4 address
	FromVPN      = "vpn"      // the cluster's VPN range
)

// Service is one row of service-ports.json.
type Service struct {
	Name   string `json:"name"`
	Roles  []Role `json:"roles"`
	Unit   string `json:"unit"` // systemd unit that provides it
	Ports  []Port `json:"ports"`
	Health Health `json:"health"`
}

// Port is a port, or a range of ports, that a service listens on, and who may
// connect to it.
type Port struct {
	Port     int32    `json:"port"`
	ToPort   int32    `json:"to_port,omitempty"` // the range's last; 0 is a single port
	Protocol string   `json:"protocol"`          // tcp or udp
	From     []string `json:"from"`              // FromInternet, FromVPN or a role
}

// Last is the last port of the range, which for a single port is that port.
func (p Port) Last() int32 { return max(p.Port, p.ToPort) }

// String is how people write it: 443/tcp, 8000-8099/tcp.
func (p Port) String() string {
	if p.Last() == p.Port {
		return fmt.Sprintf("%d/%s", p.Port, p.Protocol)
	}
	return fmt.Sprintf("%d-%d/%s", p.Port, p.Last(), p.Protocol)
}

// Health says how a service's health is checked on its own node.
type Health struct {
	Type string `json:"type"` // tcp, http or unit (systemd's own word)
	Port int32  `json:"port,omitempty"`
	Path string `json:"path,omitempty"` // with http; 2xx is healthy
}

var services = sync.OnceValues(func() ([]Service, error) {
	var table struct {
		Schema   int       `json:"schema"`
		Services []Service `json:"services"`
	}
	if err := json.Unmarshal(templates.ServicePorts, &table); err != nil {
		return nil, fmt.Errorf("read service-ports.json: %w", err)
	}
	return table.Services, nil
})

// Services returns the table of services that is built into this binary. The
// table is checked by this package's tests, so a failure to read it is a bug of
// the build, and panics.
func Services() []Service {
	all, err := services()
	if err != nil {
		panic(err)
	}
	return all
}

// ServicesOf returns the services of one role, in the order of the table.
func ServicesOf(role Role) []Service {
	var of []Service
	for _, s := range Services() {
		if slices.Contains(s.Roles, role) {
			of = append(of, s)
		}
	}
	return of
}
