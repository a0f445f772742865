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

// Settings are what differs between a node and a test.
type Settings struct {
	Config      string // haproxy.cfg
	StatsSocket string // of the worker, level admin
	Master      string // socket of the master
	StateFile   string // of servers, read at each load
	Group       string // that may write to StatsSocket
	// Where HAProxy listens, as host:port or :port.
	Applications, Primary, Replica string
}

var config = template.Must(template.ParseFS(templates.Files, "services/haproxy/daemon/haproxy.cfg.tmpl"))

type page struct {
	Routes
	Settings Settings
	Shape    string
}

// checks are every second, and four times as often once something is amiss.
const checks = " check inter 1s fastinter 250ms downinter 250ms rise 1 fall 2"

// ApplicationServer is the rest of a server line. A connection that fails is as
// good as a failed check, so that under load a dead node is out at the next one.
func (page) ApplicationServer(s Server) string {
	return s.target() + checks + " observe layer4 error-limit 1 on-error sudden-death weight " + s.weight()
}

// DatabaseServer is the rest of a server line. Sessions with a node that is no
// longer what it was end, so that clients go to the one that is.
func (page) DatabaseServer(s Server) string {
	return s.target() + checks + fmt.Sprintf(" port %d on-marked-down shutdown-sessions weight 100", patroniPort)
}

func (s Server) target() string { return fmt.Sprintf("%s:%d", s.Address, s.Port) }

// weight 0 is what HAProxy calls draining.
func (s Server) weight() string {
	if s.Draining {
		return "0"
	}
	return "100"
}

// render returns haproxy.cfg, and its shape: what it says besides servers, which
// are all that can be changed in a HAProxy that runs. The shape is HAProxy's
// description, so a running one can be asked for it.
func render(r Routes, s Settings) (text []byte, shape string, err error) {
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
	shape = "xeroops-" + hex.EncodeToString(sum[:8])
	out.Reset()
	if err := config.Execute(&out, page{Routes: r, Settings: s, Shape: shape}); err != nil {
		return nil, "", fmt.Errorf("render haproxy.cfg: %w", err)
	}
	return out.Bytes(), shape, nil
}

// backends are the servers that HAProxy is to have, with their lines, by backend.
func backends(r Routes) map[string][]line {
	all := map[string][]line{}
	for _, a := range r.Applications {
		for _, s := range a.Servers {
			all[a.Backend()] = append(all[a.Backend()], line{Server: s, options: page{}.ApplicationServer(s)})
		}
	}
	for _, backend := range []string{"postgres_primary", "postgres_replica"} {
		for _, s := range r.Databases {
			all[backend] = append(all[backend], line{Server: s, options: page{}.DatabaseServer(s), database: true})
		}
	}
	return all
}

// line is a server and what stands after its name.
type line struct {
	Server
	options  string
	database bool
}
