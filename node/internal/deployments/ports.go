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
)

// A version that listens on another port than the one before gets requests once
// HAProxy was told: by the status file, the registry, and routing. Until then they
// come to the former port, where the version before serves on. What is to be
// stopped is read off what runs, so that a daemon that starts anew goes on with it.
const (
	// followed is for how long the registry is to have named the new port, and nobody
	// to have come to the former one. HAProxy's checks alone leave no trace mostly.
	followed = 5 * time.Second
	// followedAtLast is when connections are held to be others than HAProxy's, or to stay
	// open for hours: routing reads the registry every 30 s even if it missed the news.
	// It is less than reconcileEvery, with which the count begins anew.
	followedAtLast = 40 * time.Second
	portsEvery     = time.Second
)

// running is a version whose service is in some state other than inactive.
type running struct {
	installed
	state string
}

// runningVersions are those of an application that are on the disk, and no trials.
func (d *deployer) runningVersions(ctx context.Context, application string) ([]running, error) {
	states, err := d.supervisor.States(ctx, unitsOf(application))
	var all []running
	for unit, state := range states {
		version, trial := versionOf(application, unit)
		if trial {
			continue
		}
		if v, err := d.store.installed(application, version); err == nil {
			all = append(all, running{v, state})
		}
	}
	return all, err
}

// allRunning are the running versions of all applications.
func (d *deployer) allRunning(ctx context.Context) (all []running, err error) {
	applications, err := d.store.applications()
	if err != nil {
		return nil, err
	}
	for _, a := range applications {
		of, err := d.runningVersions(ctx, a)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

// sharesPort says whether another version runs on a version's port.
func (d *deployer) sharesPort(ctx context.Context, v installed) (bool, error) {
	all, err := d.runningVersions(ctx, v.Application)
	return slices.ContainsFunc(all, func(r running) bool { return r.Port == v.Port && r.Version != v.Version }), err
}

// formerVersions are those on other ports than the current one, once it runs: until
// then whatever runs is better than nothing.
func (d *deployer) formerVersions(ctx context.Context, current installed) ([]running, error) {
	all, err := d.runningVersions(ctx, current.Application)
	if !slices.ContainsFunc(all, func(r running) bool { return r.Version == current.Version && r.state == stateActive }) {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r running) bool { return r.Port == current.Port }), err
}

// leavePorts has versions on former ports end, with their sockets, when requests no
// longer come there.
func (d *daemon) leavePorts(ctx context.Context, application string) {
	log := d.log.With("application", application)
	current, _ := d.store.current(application)
	named, quiet := time.Now(), time.Now()
	for {
		former, err := d.formerVersions(ctx, current)
		if err == nil && len(former) == 0 {
			err = d.closePorts(ctx)
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("a former port may still be open", "error", err)
		}
		if err != nil || len(former) == 0 {
			return
		}
		switch {
		case !d.isNamed(ctx, current):
			named, quiet = time.Now(), time.Now()
		case time.Since(named) < followedAtLast && d.isAsked(former):
			quiet = time.Now()
		}
		if time.Since(quiet) >= followed {
			if err := d.leave(ctx, former); err != nil {
				log.Warn("a former port stays open", "error", err)
				return
			}
		}
		if !backoff.Sleep(ctx, portsEvery) {
			return
		}
	}
}

// isNamed says whether the registry has the current version's port, and so whether
// routing can.
func (d *daemon) isNamed(ctx context.Context, current installed) bool {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	entries, _, err := registry.ReadEntries(ctx, d.registry, []string{d.node})
	return err == nil && slices.ContainsFunc(entries[d.node].Applications, func(a registry.Application) bool {
		return a.Name == current.Application && a.Port == current.Port
	})
}

// isAsked says whether somebody connects to a former port.
func (d *deployer) isAsked(former []running) bool {
	file, err := os.Open("/proc/net/tcp") // sockets of applications have no IPv6
	if err != nil {
		d.log.Warn("can't tell who is connected", "error", err)
		return true
	}
	defer file.Close()
	return slices.ContainsFunc(connected(file), func(port int) bool {
		return slices.ContainsFunc(former, func(r running) bool { return r.Port == port })
	})
}

// States of a connection in /proc/net/tcp (Linux, include/net/tcp_states.h), and
// for how long one that has ended here is listed (TCP_TIMEWAIT_LEN), in 1/100 s.
const (
	tcpTimeWait = "06"
	tcpListen   = "0A"
	timeWait    = 6000
)

// connected are the local ports with a connection that is open, or has ended less
// than twice portsEvery ago.
func connected(tcp io.Reader) (ports []int) {
	const ended = timeWait - 2*int64(portsEvery/(10*time.Millisecond))
	for lines := bufio.NewScanner(tcp); lines.Scan(); {
		f := strings.Fields(lines.Text()) // sl local_address rem_address st tx_queue:rx_queue tr:tm->when …
		if len(f) < 6 || f[3] == tcpListen {
			continue
		}
		_, timer, _ := strings.Cut(f[5], ":")
		if left, err := strconv.ParseInt(timer, 16, 64); err == nil && f[3] == tcpTimeWait && left < ended {
			continue
		}
		_, local, _ := strings.Cut(f[1], ":")
		if port, err := strconv.ParseInt(local, 16, 32); err == nil {
			ports = append(ports, int(port))
		}
	}
	return ports
}

// leave has versions end. Their sockets go along, and not later: a connection to one
// that nobody has would start xeroops-application-idle.service, and while that
// runs, systemd starts no other socket.
func (d *deployer) leave(ctx context.Context, former []running) error {
	d.claims.mu.Lock() // nobody else comes up on a port between the two
	defer d.claims.mu.Unlock()
	for _, r := range former {
		if r.state == stateDeactivating {
			continue
		}
		for _, unit := range []string{serviceUnit(r.Application, r.Version), socketUnit(r.Port)} {
			if err := d.supervisor.Stop(ctx, unit, false); err != nil {
				return err
			}
		}
		d.log.Info("nothing comes to the former port, its version ends", "application", r.Application, "version", r.Version, "port", r.Port)
	}
	return nil
}

// closePorts stops the sockets that are no application's, such as that of a version
// which failed on another port.
func (d *deployer) closePorts(ctx context.Context) error {
	d.claims.mu.Lock() // nobody comes up on one meanwhile
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

// portIsLeft refuses a port on which a version of another application still serves.
func (d *deployer) portIsLeft(ctx context.Context, application string, port int) error {
	all, err := d.allRunning(ctx)
	for _, r := range all {
		if r.Application != application && r.Port == port {
			return fmt.Errorf("port %d was %s's until just now, and %s still serves there; this is tried again", port, r.Application, r.Version)
		}
	}
	return err
}
