package routing

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"text/template"

	"github.com/xeroops/xeroops/templates"
)

// Ports on database nodes (service-ports.json).
const (
	pgBouncerPort = 6432
	patroniPort   = 8008
)

var databaseBackends = []string{"postgres_primary", "postgres_replica"}

// Settings are the paths and addresses that differ between a node and a test.
type Settings struct {
	Config       string // haproxy.cfg
	StatsSocket  string // of the worker, level admin
	MasterSocket string
	StateFile    string // states of servers, read at each load
	CA           string // file that verifies Patroni's certificates
	Group        string // may write to StatsSocket
	// Addresses on which HAProxy listens, as host:port or :port.
	Applications, Primary, Replica string
}

var config = template.Must(template.ParseFS(templates.Files, "services/haproxy/daemon/haproxy.cfg.tmpl"))

// page is the data of the template.
type page struct {
	Routes
	Settings   Settings
	ConfigHash string
}

// checks has HAProxy check a server every second, and four times as often once a check
// has failed.
const checks = " check inter 1s fastinter 250ms downinter 250ms rise 1 fall 2"

// ApplicationServer returns the parameters of an application's server line. A failed
// connection counts as a failed check, so that under load a dead node is out at once.
func (page) ApplicationServer(s Server) string {
	return s.target() + checks + " observe layer4 error-limit 1 on-error sudden-death weight " + s.weight()
}

// DatabaseServer returns the parameters of a database's server line. Its checks verify
// that they reach the node's Patroni. Sessions with a node that has lost its role end, so
// that clients reconnect to the one that has it.
func (p page) DatabaseServer(s Server) string {
	return s.target() + checks + fmt.Sprintf(" port %d check-ssl verify required ca-file %s verifyhost %s on-marked-down shutdown-sessions weight 100",
		patroniPort, p.Settings.CA, s.Name)
}

func (s Server) target() string { return fmt.Sprintf("%s:%d", s.Address, s.Port) }

// weight returns 0 for a draining server, as HAProxy does.
func (s Server) weight() string {
	if s.Draining {
		return "0"
	}
	return "100"
}

// render returns haproxy.cfg and a hash of it without its servers, which can be changed
// without a reload. The hash is HAProxy's description, so that
// it can be read back from the running process.
func render(r Routes, s Settings) (text []byte, hash string, err error) {
	bare := r
	bare.Databases = nil
	bare.Applications = slices.Clone(r.Applications)
	for i := range bare.Applications {
		bare.Applications[i].Servers = nil
	}
	var out bytes.Buffer
	if err := config.Execute(&out, page{Routes: bare, Settings: s}); err != nil {
		return nil, "", fmt.Errorf("render haproxy.cfg: %w", err)
	}
	sum := sha256.Sum256(out.Bytes())
	hash = "xeroops-" + hex.EncodeToString(sum[:8])
	out.Reset()
	if err := config.Execute(&out, page{Routes: r, Settings: s, ConfigHash: hash}); err != nil {
		return nil, "", fmt.Errorf("render haproxy.cfg: %w", err)
	}
	return out.Bytes(), hash, nil
}

// serverLine is a server line of the configuration.
type serverLine struct {
	Server
	options  string // what follows the name
	database bool
}

// backends returns the desired servers by backend.
func backends(r Routes, s Settings) map[string][]serverLine {
	all, p := map[string][]serverLine{}, page{Settings: s}
	for _, a := range r.Applications {
		for _, s := range a.Servers {
			all[a.Backend()] = append(all[a.Backend()], serverLine{Server: s, options: p.ApplicationServer(s)})
		}
	}
	for _, backend := range databaseBackends {
		for _, s := range r.Databases {
			all[backend] = append(all[backend], serverLine{Server: s, options: p.DatabaseServer(s), database: true})
		}
	}
	return all
}
