package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/xeroops/xeroops/templates"
)

// Values of Port.From besides the names of roles.
const (
	FromInternet = "internet" // any IPv4 address
	FromVPN      = "vpn"      // the cluster's VPN range
)

// Service is a row of service-ports.json. A static service, such as the firewall,
// has no unit, ports or health check, only its directory in templates/services.
type Service struct {
	Name   string `json:"name"`
	Roles  []Role `json:"roles"`
	Unit   string `json:"unit"` // systemd unit that provides it; empty: a static service
	Ports  []Port `json:"ports"`
	Health Health `json:"health"`
}

// Port is a port or a range of ports that a service listens on, with the
// clients that may connect to it.
type Port struct {
	Port     int32    `json:"port"`
	ToPort   int32    `json:"to_port,omitempty"` // the range's last; 0 is a single port
	Protocol string   `json:"protocol"`          // tcp or udp
	From     []string `json:"from"`              // FromInternet, FromVPN or a role
}

// Last returns the last port of the range; for a single port, that port.
func (p Port) Last() int32 { return max(p.Port, p.ToPort) }

// String returns the usual notation: 443/tcp, 8000-8099/tcp.
func (p Port) String() string {
	if p.Last() == p.Port {
		return fmt.Sprintf("%d/%s", p.Port, p.Protocol)
	}
	return fmt.Sprintf("%d-%d/%s", p.Port, p.Last(), p.Protocol)
}

// Health is the health check of a service, which its own node runs.
type Health struct {
	// Type is tcp, http, https (verified by the cluster's authority), unit (the unit's
	// state), or etcd: http of a member, tcp of a gateway to the members.
	Type string `json:"type"`
	Port int32  `json:"port,omitempty"`
	Path string `json:"path,omitempty"` // with http, https and etcd; 2xx is healthy
}

var services = sync.OnceValues(func() ([]Service, error) {
	var table struct {
		Schema   int       `json:"schema"`
		Services []Service `json:"services"`
	}
	decoder := json.NewDecoder(bytes.NewReader(templates.ServicePorts))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&table); err != nil {
		return nil, fmt.Errorf("read service-ports.json: %w", err)
	}
	return table.Services, nil
})

// Services returns the table of services that is built into this binary,
// including static ones. The table is checked by this package's tests, so a
// failure to read it is a bug of the build, and panics.
func Services() []Service {
	all, err := services()
	if err != nil {
		panic(err)
	}
	return all
}

// ServicesOf returns the services of one role that have a unit, in the order of
// the table.
func ServicesOf(role Role) []Service {
	var of []Service
	for _, s := range Services() {
		if s.Unit != "" && slices.Contains(s.Roles, role) {
			of = append(of, s)
		}
	}
	return of
}

// HasEtcd reports whether the nodes of a role run etcd, and so have a certificate of
// etcd's authority.
func HasEtcd(role Role) bool {
	return slices.ContainsFunc(ServicesOf(role), func(s Service) bool { return s.Name == "etcd" })
}

// TemplateDirs returns the directories of templates.Files that make up a role:
// base, and that of each of its services, in the order of the table.
func TemplateDirs(role Role) []string {
	dirs := []string{"base"}
	for _, s := range Services() {
		if slices.Contains(s.Roles, role) {
			dirs = append(dirs, s.TemplateDir())
		}
	}
	return dirs
}

// TemplateDir returns the service's directory in templates.Files.
func (s Service) TemplateDir() string { return "services/" + s.Name }
