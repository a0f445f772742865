package moto

import "syscall"

// processAttributes puts moto into its own process group, so that Ctrl-C does not
// stop it before the tests, and lets the kernel kill it when the parent dies.
func processAttributes(outlivesParent bool) *syscall.SysProcAttr {
	if outlivesParent {
		return &syscall.SysProcAttr{Setsid: true}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
