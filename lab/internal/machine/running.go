//go:build linux

package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func (m *container) ID() string             { return m.spec.ID }
func (m *container) Ready() <-chan struct{} { return m.ready }
func (m *container) Done() <-chan struct{}  { return m.done }

func (m *container) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *container) Boots() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boots
}

// exitReboot is systemd-nspawn's exit status when the machine rebooted.
const exitReboot = 133

// run boots the machine again after each reboot, until the machine is off.
func (m *container) run() {
	for {
		err := m.exitReason(<-m.exited)
		if errors.Is(err, errReboot) {
			if err = m.boot(context.Background()); err == nil {
				continue
			}
			err = fmt.Errorf("boot again: %w", err)
		}
		m.mu.Lock()
		m.err = errors.Join(err, m.sweep())
		close(m.done)
		m.mu.Unlock()
		return
	}
}

var errReboot = errors.New("reboot")

// exitReason converts systemd-nspawn's exit status to the reason why the machine is
// off, or to errReboot.
func (m *container) exitReason(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var exit *exec.ExitError
	switch {
	case m.cut:
		return ErrPowerCut
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == exitReboot:
		return errReboot
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return fmt.Errorf("%w: systemd-nspawn was killed from outside the lab", ErrPowerCut)
	default:
		return fmt.Errorf("systemd-nspawn: %w: %s", err, m.consoleTail())
	}
}

// sweep kills what remains of the machine and removes what it leaves on the host.
func (m *container) sweep() error {
	return errors.Join(m.liftThrottles(), m.group.remove(), os.RemoveAll(m.kind.runDir(m.spec.ID)))
}

// liftThrottles removes the limits of all volumes.
func (m *container) liftThrottles() error {
	var errs []error
	for n := range m.volumes {
		v := &m.volumes[n]
		errs = append(errs, m.setThrottle(*v, Throttle{}))
		v.throttle = Throttle{}
	}
	return errors.Join(errs...)
}

// whileOn calls f with the lock held, or returns ErrNotRunning if the machine is off.
func (m *container) whileOn(operation string, f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := ErrNotRunning
	select {
	case <-m.done:
	default:
		err = f()
	}
	if err != nil {
		return fmt.Errorf("%s machine %s: %w", operation, m.spec.ID, err)
	}
	return nil
}

// systemd's signals (systemd(1), "SIGNALS"), counted from SIGRTMIN.
const (
	sigPowerOff = syscall.Signal(34 + 4)
	sigReboot   = syscall.Signal(34 + 5)
)

// resignalInterval is how often the signal to power off is repeated: init ignores it
// early in the boot.
const resignalInterval = 2 * time.Second

func (m *container) PowerOff(ctx context.Context) error {
	for {
		err := m.whileOn("power off", func() error { return m.signal(sigPowerOff) })
		if err != nil {
			return err
		}
		select {
		case <-m.done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("power off machine %s: %w; use PowerCut", m.spec.ID, ctx.Err())
		case <-time.After(resignalInterval):
		}
	}
}

func (m *container) Reboot() error {
	return m.whileOn("reboot", func() error { return m.signal(sigReboot) })
}

func (m *container) signal(s syscall.Signal) error {
	err := syscall.Kill(m.leader, s)
	if errors.Is(err, syscall.ESRCH) {
		return nil // the machine is about to be off
	}
	return err
}

func (m *container) PowerCut() error {
	err := m.whileOn("cut power of", func() error {
		m.cut = true
		if err := m.group.kill(); err != nil {
			return err
		}
		return m.liftThrottles() // a process can't end while its I/O is held back
	})
	if err == nil {
		<-m.done
	}
	return err
}

func (m *container) Freeze() error {
	return m.whileOn("freeze", func() error { return m.group.freeze(true) })
}

func (m *container) Thaw() error {
	return m.whileOn("thaw", func() error { return m.group.freeze(false) })
}

func (m *container) MemoryBytes() (n int64, err error) {
	err = m.whileOn("read memory use of", func() (err error) {
		n, err = m.group.memoryBytes()
		return err
	})
	return n, err
}
