package routing

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/xeroops/xeroops/node/internal/atomicfile"
)

// runningServer is the state of a server in the running HAProxy.
type runningServer struct {
	address     string
	port        int
	up          bool
	maintenance bool
	weight      string   // the current one, as configured or set
	state       []string // its columns of `show servers state`
}

// Columns of `show servers state` and of a server state file, version 1 (HAProxy's
// management guide, 9.3).
const (
	columnBackend       = 1
	columnServer        = 3
	columnAddress       = 4
	columnUp            = 5 // 0: stopped
	columnAdmin         = 6 // bit 0: forced into maintenance
	columnWeight        = 7
	columnInitialWeight = 8
	columnPort          = 18
	columns             = 19 // at least

	forcedMaintenance = 1
)

// runningServers returns all servers of HAProxy, by backend and name.
func runningServers(ctx context.Context, statsSocket string) (map[string]map[string]runningServer, error) {
	answer, err := ask(ctx, statsSocket, "show servers state")
	if err != nil {
		return nil, err
	}
	return parseServers(answer)
}

func parseServers(answer string) (map[string]map[string]runningServer, error) {
	all := map[string]map[string]runningServer{}
	lines := bufio.NewScanner(strings.NewReader(answer))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < columns || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		port, errPort := strconv.Atoi(f[columnPort])
		admin, errAdmin := strconv.Atoi(f[columnAdmin])
		if err := errors.Join(errPort, errAdmin); err != nil {
			return nil, fmt.Errorf("parse HAProxy's servers: %q: %w", lines.Text(), err)
		}
		backend := all[f[columnBackend]]
		if backend == nil {
			backend = map[string]runningServer{}
			all[f[columnBackend]] = backend
		}
		backend[f[columnServer]] = runningServer{address: f[columnAddress], port: port, up: f[columnUp] != "0",
			maintenance: admin&forcedMaintenance != 0, weight: f[columnWeight], state: f}
	}
	return all, lines.Err()
}

// stateHeader is the head of a server state file.
const stateHeader = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change " +
	"srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord " +
	"srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n"

// writeState writes the file from which a starting HAProxy takes which servers are up.
// A database whose state is unknown is down until its first check.
func (b *balancer) writeState(r Routes, running map[string]map[string]runningServer) error {
	var out strings.Builder
	out.WriteString(stateHeader)
	desired := backends(r, b.Settings)
	for _, backend := range sortedKeys(desired) {
		for _, s := range desired[backend] {
			if current, found := running[backend][s.Name]; found {
				out.WriteString(stateLine(s, current) + "\n")
			} else if s.database {
				fmt.Fprintf(&out, "0 %s 0 %s %s 0 0 100 100 0 1 0 0 6 0 0 0 - %d - 0 %d - - 0\n", backend, s.Name, s.Address, s.Port, patroniPort)
			}
		}
	}
	_, err := atomicfile.WriteFile(b.StateFile, []byte(out.String()), 0o644)
	return err
}

// stateLine returns the state of a running server with its desired address, weight and
// administrative state. HAProxy lets the state file override the configuration, so the
// running ones would undo a change that comes with the reload.
func stateLine(s serverLine, current runningServer) string {
	line := slices.Clone(current.state)
	admin, _ := strconv.Atoi(line[columnAdmin])
	line[columnAdmin] = strconv.Itoa(admin &^ forcedMaintenance)
	line[columnAddress], line[columnPort] = s.Address, strconv.Itoa(s.Port)
	line[columnWeight], line[columnInitialWeight] = s.weight(), s.weight()
	return strings.Join(line, " ")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
