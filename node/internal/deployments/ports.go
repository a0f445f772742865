package deployments

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/node/internal/backoff"
	"github.com/xeroops/xeroops/node/internal/systemd"
)

// A version on another port than its predecessor gets requests once HAProxy has the new
// port, which it gets through the status file, the registry and routing. Until then the
// former version serves on the former port. What to stop is derived from the running
// units, so that a restarted daemon continues.
const (
	// quietPeriod is how long the registry must have had the new port, and the former one
	// no connection, before the former version is stopped. HAProxy's own checks mostly
	// leave no connection behind.
	quietPeriod = 5 * time.Second
	// maxQuietWait is how long connections to the former port delay that: routing reads the
	// registry every 30 s even if it missed a message, so that connections after that are
	// not HAProxy's or may stay open for hours. It is less than resyncInterval, at which
	// the count restarts.
	maxQuietWait     = 40 * time.Second
	portPollInterval = time.Second
)

// runningVersion is a version whose service is not inactive.
type runningVersion struct {
	installed
	state string
}

// runningVersions returns the running versions of an application, without trials.
func (d *deployer) runningVersions(ctx context.Context, application string) ([]runningVersion, error) {
	states, err := d.supervisor.States(ctx, unitsOf(application))
	var all []runningVersion
	for unit, state := range states {
		version, trial := parseUnit(application, unit)
		if trial {
			continue
		}
		if v, err := d.store.installed(application, version); err == nil {
			all = append(all, runningVersion{v, state})
		}
	}
	return all, err
}

// allRunning returns the running versions of all applications.
func (d *deployer) allRunning(ctx context.Context) (all []runningVersion, err error) {
	applications, err := d.store.applications()
	if err != nil {
		return nil, err
	}
	for _, a := range applications {
		versions, err := d.runningVersions(ctx, a)
		if err != nil {
			return nil, err
		}
		all = append(all, versions...)
	}
	return all, nil
}

// sharesPort reports whether another version is running on a version's port.
func (d *deployer) sharesPort(ctx context.Context, v installed) (bool, error) {
	all, err := d.runningVersions(ctx, v.Application)
	return slices.ContainsFunc(all, func(r runningVersion) bool { return r.Port == v.Port && r.Version != v.Version }), err
}

// formerVersions returns the running versions on other ports than the current one. It
// returns none before the current one is running, so that the others keep serving.
func (d *deployer) formerVersions(ctx context.Context, current installed) ([]runningVersion, error) {
	all, err := d.runningVersions(ctx, current.Application)
	if !slices.ContainsFunc(all, func(r runningVersion) bool { return r.Version == current.Version && r.state == systemd.Active }) {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r runningVersion) bool { return r.Port == current.Port }), err
}

// retirePorts stops the versions on former ports, and their sockets, when those ports no
// longer get requests.
func (d *daemon) retirePorts(ctx context.Context, application string) {
	log := d.log.With("application", application)
	current, _ := d.store.current(application)
	publishedSince, quietSince := time.Now(), time.Now()
	for {
		former, err := d.formerVersions(ctx, current)
		if err == nil && len(former) == 0 {
			err = d.closeUnusedSockets(ctx)
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("retiring former ports failed", "error", err)
		}
		if err != nil || len(former) == 0 {
			return
		}
		switch {
		case !d.isPublished(ctx, current):
			publishedSince, quietSince = time.Now(), time.Now()
		case time.Since(publishedSince) < maxQuietWait && d.hasConnections(former):
			quietSince = time.Now()
		}
		if time.Since(quietSince) >= quietPeriod {
			if err := d.retire(ctx, former); err != nil {
				log.Warn("retiring former ports failed", "error", err)
				return
			}
		}
		if !backoff.Sleep(ctx, portPollInterval) {
			return
		}
	}
}

// isPublished reports whether the registry has the current version's port, from which
// routing gets it.
func (d *daemon) isPublished(ctx context.Context, current installed) bool {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	entries, _, err := registry.ReadEntries(ctx, d.registry, []string{d.node})
	return err == nil && slices.ContainsFunc(entries[d.node].Applications, func(a registry.Application) bool {
		return a.Name == current.Application && a.Port == current.Port
	})
}

// hasConnections reports whether there are recent connections to a former port.
func (d *deployer) hasConnections(former []runningVersion) bool {
	file, err := os.Open("/proc/net/tcp") // applications listen on IPv4 only
	if err != nil {
		d.log.Warn("listing connections failed", "error", err)
		return true
	}
	defer file.Close()
	return slices.ContainsFunc(connectedPorts(file), func(port int) bool {
		return slices.ContainsFunc(former, func(r runningVersion) bool { return r.Port == port })
	})
}

// Values of /proc/net/tcp (Linux, include/net/tcp_states.h).
const (
	tcpTimeWait   = "06"
	tcpListen     = "0A"
	timeWaitTicks = 6000 // TCP_TIMEWAIT_LEN in hundredths of a second
)

// connectedPorts returns the local ports that have an open connection, or one that was
// closed less than twice portPollInterval ago.
func connectedPorts(tcp io.Reader) (ports []int) {
	const minTicks = timeWaitTicks - 2*int64(portPollInterval/(10*time.Millisecond))
	for lines := bufio.NewScanner(tcp); lines.Scan(); {
		f := strings.Fields(lines.Text()) // sl local_address rem_address st tx_queue:rx_queue tr:tm->when …
		if len(f) < 6 || f[3] == tcpListen {
			continue
		}
		_, timer, _ := strings.Cut(f[5], ":")
		if ticks, err := strconv.ParseInt(timer, 16, 64); err == nil && f[3] == tcpTimeWait && ticks < minTicks {
			continue
		}
		_, local, _ := strings.Cut(f[1], ":")
		if port, err := strconv.ParseInt(local, 16, 32); err == nil {
			ports = append(ports, int(port))
		}
	}
	return ports
}

// retire stops versions together with their sockets, so that no connection waits for a
// version that does not come.
func (d *deployer) retire(ctx context.Context, former []runningVersion) error {
	d.claims.mu.Lock() // so that no other version starts on the port in between
	defer d.claims.mu.Unlock()
	for _, r := range former {
		if r.state == systemd.Deactivating {
			continue
		}
		for _, unit := range []string{serviceUnit(r.Application, r.Version), socketUnit(r.Port)} {
			if err := d.supervisor.Stop(ctx, unit, false); err != nil {
				return err
			}
		}
		d.log.Info("former port retired", "application", r.Application, "version", r.Version, "port", r.Port)
	}
	return nil
}

// closeUnusedSockets stops the sockets that no application uses, such as that of a version
// that failed on another port.
func (d *deployer) closeUnusedSockets(ctx context.Context) error {
	d.claims.mu.Lock() // so that no version starts on one meanwhile
	defer d.claims.mu.Unlock()
	open, err := d.supervisor.States(ctx, socketsPattern)
	if err != nil {
		return err
	}
	applications, err := d.store.applications()
	if err != nil {
		return err
	}
	for port := range d.claims.ports {
		delete(open, socketUnit(port))
	}
	for _, a := range applications {
		if v, ok := d.store.current(a); ok {
			delete(open, socketUnit(v.Port))
		}
	}
	if len(open) == 0 {
		return nil
	}
	all, err := d.allRunning(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		delete(open, socketUnit(r.Port))
	}
	for socket := range open {
		if err := d.supervisor.Stop(ctx, socket, false); err != nil {
			return err
		}
	}
	return nil
}

// checkPortRetired returns an error while a version of another application serves on a
// port.
func (d *deployer) checkPortRetired(ctx context.Context, application string, port int) error {
	all, err := d.allRunning(ctx)
	for _, r := range all {
		if r.Application != application && r.Port == port {
			return fmt.Errorf("port %d is still used by version %s of application %s, which is stopping; retrying", port, r.Version, r.Application)
		}
	}
	return err
}
