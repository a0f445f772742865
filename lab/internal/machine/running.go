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

// run goes with the machine through its reboots until it is off.
func (m *container) run() {
	for {
		err := m.why(<-m.exited)
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

// why turns how systemd-nspawn ended into why the machine is off.
func (m *container) why(err error) error {
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

// sweep removes what a machine leaves behind in the host, ending what remains of
// it. Its process has been, or will be, waited for.
func (m *container) sweep() error {
	var errs []error
	for _, v := range m.volumes {
		errs = append(errs, m.setThrottle(v, Throttle{}))
	}
	return errors.Join(append(errs, m.group.remove(), os.RemoveAll(m.kind.runDir(m.spec.ID)))...)
}

// whileOn runs f under the lock unless the machine is off.
func (m *container) whileOn(what string, f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := ErrNotRunning
	select {
	case <-m.done:
	default:
		err = f()
	}
	if err != nil {
		return fmt.Errorf("%s machine %s: %w", what, m.spec.ID, err)
	}
	return nil
}

// systemd's signals (systemd(1), "SIGNALS"), counted from SIGRTMIN.
const (
	sigPowerOff = syscall.Signal(34 + 4)
	sigReboot   = syscall.Signal(34 + 5)
)

// resignal is how often init is told again to power off: it ignores signals until
// it has got so far as to handle them.
const resignal = 2 * time.Second

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
			return fmt.Errorf("power off machine %s: %w; cut its power instead", m.spec.ID, ctx.Err())
		case <-time.After(resignal):
		}
	}
}

func (m *container) Reboot() error {
	return m.whileOn("reboot", func() error { return m.signal(sigReboot) })
}

func (m *container) signal(s syscall.Signal) error {
	err := syscall.Kill(m.leader, s)
	if errors.Is(err, syscall.ESRCH) {
		return nil // it is about to be off
	}
	return err
}

func (m *container) PowerCut() error {
	err := m.whileOn("cut power of", func() error {
		m.cut = true
		return m.group.kill()
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
