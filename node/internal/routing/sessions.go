package routing

import (
	"context"
	"errors"
	"strings"
)

// endStaleSessions ends the sessions of old workers with databases that are down. An old
// worker no longer checks its servers, so on-marked-down has no effect there, and
// clients would keep writing to a node that has become a replica.
func (b *balancer) endStaleSessions(ctx context.Context) error {
	if !b.oldWorkers {
		return nil
	}
	processes, err := ask(ctx, b.MasterSocket, "show proc")
	if err != nil {
		return err
	}
	workers := parseOldWorkers(processes)
	if len(workers) == 0 {
		b.oldWorkers = false
		return nil
	}
	servers, err := runningServers(ctx, b.StatsSocket)
	if err != nil {
		return err
	}
	var down []string // as `show sess` names them
	for _, backend := range databaseBackends {
		for name, s := range servers[backend] {
			if !s.up {
				down = append(down, " be="+backend+" srv="+name+" ")
			}
		}
	}
	var errs error
	for _, pid := range workers {
		errs = errors.Join(errs, b.endSessions(ctx, "@!"+pid+" ", down))
	}
	return errs
}

// parseOldWorkers returns the pids below "# old workers" in the master's `show proc`.
func parseOldWorkers(processes string) []string {
	_, old, _ := strings.Cut(processes, "# old workers\n")
	old, _, _ = strings.Cut(old, "\n#")
	var pids []string
	for line := range strings.Lines(old) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == "worker" {
			pids = append(pids, f[0])
		}
	}
	return pids
}

// endSessions ends a worker's sessions with servers. prefix directs a command of the
// master's socket to the worker.
func (b *balancer) endSessions(ctx context.Context, prefix string, servers []string) error {
	if len(servers) == 0 {
		return nil
	}
	sessions, err := ask(ctx, b.MasterSocket, prefix+"show sess")
	if err != nil {
		return err
	}
	var errs error
	for line := range strings.Lines(sessions) {
		id, rest, _ := strings.Cut(line, ": ")
		for _, server := range servers {
			if strings.HasPrefix(id, "0x") && strings.Contains(rest, server) {
				_, err := ask(ctx, b.MasterSocket, prefix+"shutdown session "+id)
				errs = errors.Join(errs, err)
			}
		}
	}
	return errs
}
