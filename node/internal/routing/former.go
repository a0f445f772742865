package routing

import (
	"context"
	"errors"
	"strings"
)

// endFormer ends sessions that an old worker has with databases that are down. A
// worker that was reloaded checks no servers any more, so on-marked-down does
// nothing there, and clients would go on writing to what is a replica now.
func (b *balancer) endFormer(ctx context.Context) error {
	if !b.former {
		return nil
	}
	processes, err := ask(ctx, b.Master, "show proc")
	if err != nil {
		return err
	}
	workers := oldWorkers(processes)
	if len(workers) == 0 {
		b.former = false
		return nil
	}
	servers, err := runningServers(ctx, b.StatsSocket)
	if err != nil {
		return err
	}
	var down []string
	for _, backend := range []string{"postgres_primary", "postgres_replica"} {
		for name, is := range servers[backend] {
			if !is.up {
				down = append(down, " be="+backend+" srv="+name+" ")
			}
		}
	}
	var all error
	for _, pid := range workers {
		all = errors.Join(all, b.endSessions(ctx, "@!"+pid+" ", down))
	}
	return all
}

// oldWorkers are the pids below "# old workers" of the master's `show proc`.
func oldWorkers(processes string) []string {
	_, old, _ := strings.Cut(processes, "# old workers\n")
	old, _, _ = strings.Cut(old, "\n#")
	var pids []string
	for text := range strings.Lines(old) {
		if f := strings.Fields(text); len(f) > 1 && f[1] == "worker" {
			pids = append(pids, f[0])
		}
	}
	return pids
}

func (b *balancer) endSessions(ctx context.Context, worker string, of []string) error {
	if len(of) == 0 {
		return nil
	}
	sessions, err := ask(ctx, b.Master, worker+"show sess")
	if err != nil {
		return err
	}
	var all error
	for text := range strings.Lines(sessions) {
		id, rest, _ := strings.Cut(text, ": ")
		for _, server := range of {
			if strings.HasPrefix(id, "0x") && strings.Contains(rest, server) {
				_, err := ask(ctx, b.Master, worker+"shutdown session "+id)
				all = errors.Join(all, err)
			}
		}
	}
	return all
}
