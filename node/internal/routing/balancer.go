package routing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/node/internal/atomicfile"
)

// balancer makes HAProxy do what routes say: a server that comes, goes or drains
// is changed in the process that runs, as are weights and addresses; anything
// else is a reload. What is to be and what is are compared each time, so
// that whatever restarted or failed in between is mended.
type balancer struct {
	Settings
	haproxy func(ctx context.Context, args ...string) *exec.Cmd
	log     hclog.Logger
	// former says that there may be old workers with sessions of databases.
	former bool
}

// How routes were put into effect.
const (
	unchanged = "unchanged"
	adjusted  = "adjusted"
	reloaded  = "reloaded"
)

// install puts haproxy.cfg in place, once HAProxy itself found it sound.
func (b *balancer) install(ctx context.Context, r Routes) (shape string, err error) {
	text, shape, err := render(r, b.Settings)
	if err != nil {
		return "", err
	}
	if err := b.writeState(r, nil); err != nil {
		return "", err
	}
	if is, err := os.ReadFile(b.Config); err == nil && string(is) == string(text) {
		return shape, nil
	}
	candidate := filepath.Join(filepath.Dir(b.StateFile), "candidate.cfg")
	if err := os.WriteFile(candidate, text, 0o644); err != nil {
		return "", fmt.Errorf("write the new configuration: %w", err)
	}
	if out, err := b.haproxy(ctx, "-c", "-q", "-f", candidate).CombinedOutput(); err != nil {
		return "", fmt.Errorf("haproxy -c of the new configuration, %s, which stays aside: %w: %s", candidate, err, strings.TrimSpace(string(out)))
	}
	_, err = atomicfile.WriteFile(b.Config, text, 0o644)
	return shape, err
}

// apply puts routes into effect and says how.
func (b *balancer) apply(ctx context.Context, r Routes) (how string, err error) {
	shape, err := b.install(ctx, r)
	if err != nil {
		return "", err
	}
	runs, err := runningShape(ctx, b.StatsSocket)
	if err != nil {
		return "", err
	}
	how = unchanged
	if runs != shape {
		if err := b.reload(ctx, r); err != nil {
			return "", err
		}
		how = reloaded
	}
	changed, err := b.adjust(ctx, r)
	switch {
	case err != nil:
		b.log.Warn("servers could not be changed in place, reloading", "error", err)
		return reloaded, b.reload(ctx, r)
	case changed && how == unchanged:
		how = adjusted
	}
	return how, nil
}

// reload loads the configuration that lies there, with what is known of servers.
func (b *balancer) reload(ctx context.Context, r Routes) error {
	servers, err := runningServers(ctx, b.StatsSocket)
	if err != nil {
		return err
	}
	if err := b.writeState(r, servers); err != nil {
		return err
	}
	b.former = true
	err = reload(ctx, b.Master)
	return errors.Join(err, b.writeState(r, nil))
}

// stateHeader are the columns of a server state file.
const stateHeader = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change " +
	"srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord " +
	"srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n"

// writeState writes the file that tells a starting HAProxy how servers are. A
// database of which nothing is known is down until its first check.
func (b *balancer) writeState(r Routes, known map[string]map[string]running) error {
	var out strings.Builder
	out.WriteString(stateHeader)
	wanted := backends(r)
	for _, backend := range slices.Sorted(maps.Keys(wanted)) {
		for _, s := range wanted[backend] {
			if is, found := known[backend][s.Name]; found {
				out.WriteString(is.state + "\n")
			} else if s.database {
				fmt.Fprintf(&out, "0 %s 0 %s %s 0 0 100 100 0 1 0 0 6 0 0 0 - %d - 0 %d - - 0\n", backend, s.Name, s.Address, s.Port, patroniPort)
			}
		}
	}
	_, err := atomicfile.WriteFile(b.StateFile, []byte(out.String()), 0o644)
	return err
}

// maxCommands is how many bytes HAProxy takes at once: its buffer has 16 KiB.
const maxCommands = 12 << 10

// adjust changes the servers of the HAProxy that runs, and checks that they are as
// they are to be.
func (b *balancer) adjust(ctx context.Context, r Routes) (changed bool, err error) {
	wanted := backends(r)
	is, err := runningServers(ctx, b.StatsSocket)
	if err != nil {
		return false, err
	}
	commands := slices.Concat(differences(wanted, is), removals(wanted, is))
	if len(commands) == 0 {
		return false, nil
	}
	answers, err := b.tell(ctx, commands)
	if err != nil {
		return true, err
	}
	if is, err = runningServers(ctx, b.StatsSocket); err != nil {
		return true, err
	}
	if left := differences(wanted, is); len(left) > 0 {
		return true, fmt.Errorf("%d commands had no effect, the first %q; HAProxy said: %.500s", len(left), left[0], answers)
	}
	return true, nil
}

// tell sends commands, as many at once as HAProxy takes.
func (b *balancer) tell(ctx context.Context, commands []string) (answers string, err error) {
	for len(commands) > 0 {
		size, n := 0, 0
		for n < len(commands) && (n == 0 || size+len(commands[n]) < maxCommands) {
			size += len(commands[n]) + 1
			n++
		}
		answer, err := ask(ctx, b.StatsSocket, strings.Join(commands[:n], ";"))
		if err != nil {
			return answers, err
		}
		answers += strings.TrimSpace(answer)
		commands = commands[n:]
	}
	return answers, nil
}

// differences are the commands that make servers as they are to be. A new one is
// down until its first check, which follows within a second.
func differences(wanted map[string][]line, is map[string]map[string]running) []string {
	var all []string
	for _, backend := range slices.Sorted(maps.Keys(wanted)) {
		for _, s := range wanted[backend] {
			name := backend + "/" + s.Name
			now, found := is[backend][s.Name]
			if !found {
				all = append(all, "add server "+name+" "+s.options, "enable server "+name, "set server "+name+" health down", "enable health "+name)
				continue
			}
			if now.address != s.Address || now.port != s.Port {
				all = append(all, fmt.Sprintf("set server %s addr %s port %d", name, s.Address, s.Port))
			}
			if now.weight != s.weight() {
				all = append(all, "set server "+name+" weight "+s.weight())
			}
			if now.maintenance {
				all = append(all, "set server "+name+" state ready")
			}
		}
	}
	return all
}

// removals are the commands that take out servers. One that still has
// connections can't be deleted; it gets no new ones, and is tried again.
func removals(wanted map[string][]line, is map[string]map[string]running) []string {
	var all []string
	for _, backend := range slices.Sorted(maps.Keys(is)) {
		for _, name := range slices.Sorted(maps.Keys(is[backend])) {
			if slices.ContainsFunc(wanted[backend], func(s line) bool { return s.Name == name }) {
				continue
			}
			if !is[backend][name].maintenance {
				all = append(all, "set server "+backend+"/"+name+" state maint")
			}
			all = append(all, "del server "+backend+"/"+name)
		}
	}
	return all
}
