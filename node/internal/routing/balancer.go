package routing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/backoff"
)

// balancer applies routes to HAProxy. Servers are added, removed, drained and moved in
// the running process; any other change takes a reload. Each call compares the desired
// state with the running one, so that it also corrects what a restart or a failure left.
type balancer struct {
	Settings
	haproxy func(ctx context.Context, args ...string) *exec.Cmd
	log     hclog.Logger
	// oldWorkers reports whether workers of former configurations may still have
	// sessions with databases.
	oldWorkers bool
}

// result is how routes were put into effect.
type result string

const (
	unchanged result = "unchanged"
	adjusted  result = "adjusted" // servers were changed in the running process
	reloaded  result = "reloaded"
)

// install writes haproxy.cfg after HAProxy has checked it, and returns its hash.
func (b *balancer) install(ctx context.Context, r Routes) (hash string, err error) {
	text, hash, err := render(r, b.Settings)
	if err != nil {
		return "", err
	}
	if err := b.writeState(r, nil); err != nil {
		return "", err
	}
	if current, err := os.ReadFile(b.Config); err == nil && string(current) == string(text) {
		return hash, nil
	}
	candidate := filepath.Join(filepath.Dir(b.StateFile), "candidate.cfg")
	if err := os.WriteFile(candidate, text, 0o644); err != nil {
		return "", fmt.Errorf("write the new configuration: %w", err)
	}
	if out, err := b.haproxy(ctx, "-c", "-q", "-f", candidate).CombinedOutput(); err != nil {
		return "", fmt.Errorf("check the new configuration: haproxy -c -f %s: %w: %s", candidate, err, strings.TrimSpace(string(out)))
	}
	_, err = atomicfile.WriteFile(b.Config, text, 0o644)
	return hash, err
}

// apply puts routes into effect and returns how.
func (b *balancer) apply(ctx context.Context, r Routes) (result, error) {
	hash, err := b.install(ctx, r)
	if err != nil {
		return "", err
	}
	running, err := runningConfigHash(ctx, b.StatsSocket)
	if err != nil {
		return "", err
	}
	how := unchanged
	if running != hash {
		if err := b.reload(ctx, r); err != nil {
			return "", err
		}
		how = reloaded
	}
	changed, err := b.adjust(ctx, r)
	if err != nil {
		b.log.Warn("changing servers in place failed, reloading", "error", err)
		if err := b.reload(ctx, r); err != nil {
			return "", err
		}
		_, err = b.adjust(ctx, r)
		return reloaded, err
	}
	if changed && how == unchanged {
		how = adjusted
	}
	return how, nil
}

// reload makes HAProxy load the configuration, and pass on which servers are up.
func (b *balancer) reload(ctx context.Context, r Routes) error {
	servers, err := runningServers(ctx, b.StatsSocket)
	if err != nil {
		return err
	}
	if err := b.writeState(r, servers); err != nil {
		return err
	}
	b.oldWorkers = true
	err = reload(ctx, b.MasterSocket)
	return errors.Join(err, b.writeState(r, nil))
}

// maxCommandBytes is the size of the commands that HAProxy reads at once: its buffer
// has 16 KiB.
const maxCommandBytes = 12 << 10

// Limits of the wait for HAProxy to put a change of a server into effect, which usually
// takes less than a millisecond.
const (
	effectTimeout = 5 * time.Second
	effectPoll    = 5 * time.Millisecond
)

// adjust changes the servers of the running process, and verifies that it did.
func (b *balancer) adjust(ctx context.Context, r Routes) (changed bool, err error) {
	desired := backends(r, b.Settings)
	running, err := runningServers(ctx, b.StatsSocket)
	if err != nil {
		return false, err
	}
	commands := slices.Concat(differences(desired, running), removals(desired, running))
	if len(commands) == 0 {
		return false, nil
	}
	answers, err := b.send(ctx, commands)
	if err != nil {
		return true, err
	}
	return true, b.verify(ctx, desired, answers)
}

// verify waits until the servers of the running process are the desired ones. HAProxy
// acknowledges a new address before a task of its own applies it.
func (b *balancer) verify(ctx context.Context, desired map[string][]serverLine, answers string) error {
	deadline := time.Now().Add(effectTimeout)
	for {
		running, err := runningServers(ctx, b.StatsSocket)
		if err != nil {
			return err
		}
		left := differences(desired, running)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) || !backoff.Sleep(ctx, effectPoll) {
			return fmt.Errorf("%d commands had no effect, the first %q; HAProxy answered: %.500s", len(left), left[0], answers)
		}
	}
}

// send sends commands in batches of at most [maxCommandBytes].
func (b *balancer) send(ctx context.Context, commands []string) (answers string, err error) {
	for len(commands) > 0 {
		size, n := 0, 0
		for n < len(commands) && (n == 0 || size+len(commands[n]) < maxCommandBytes) {
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

// differences returns the commands that give servers their desired state. A new server
// is down until its first check, which follows within a second.
func differences(desired map[string][]serverLine, running map[string]map[string]runningServer) []string {
	var commands []string
	for _, backend := range sortedKeys(desired) {
		for _, s := range desired[backend] {
			name := backend + "/" + s.Name
			current, found := running[backend][s.Name]
			if !found {
				commands = append(commands, "add server "+name+" "+s.options, "enable server "+name, "set server "+name+" health down", "enable health "+name)
				continue
			}
			if current.address != s.Address || current.port != s.Port {
				commands = append(commands, fmt.Sprintf("set server %s addr %s port %d", name, s.Address, s.Port))
			}
			if current.weight != s.weight() {
				commands = append(commands, "set server "+name+" weight "+s.weight())
			}
			if current.maintenance {
				commands = append(commands, "set server "+name+" state ready")
			}
		}
	}
	return commands
}

// removals returns the commands that remove servers which are not desired. One that
// still has connections cannot be deleted: it gets no new ones, and the next call tries
// again.
func removals(desired map[string][]serverLine, running map[string]map[string]runningServer) []string {
	var commands []string
	for _, backend := range sortedKeys(running) {
		for _, name := range sortedKeys(running[backend]) {
			if slices.ContainsFunc(desired[backend], func(s serverLine) bool { return s.Name == name }) {
				continue
			}
			if !running[backend][name].maintenance {
				commands = append(commands, "set server "+backend+"/"+name+" state maint")
			}
			commands = append(commands, "del server "+backend+"/"+name)
		}
	}
	return commands
}
