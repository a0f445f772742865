package moto

import "syscall"

// processAttributes puts moto into a process group of its own, so that a
// Ctrl-C meant for the tests does not take it away under them, and has it
// killed when the parent dies.
func processAttributes(outlivesParent bool) *syscall.SysProcAttr {
	if outlivesParent {
		return &syscall.SysProcAttr{Setsid: true}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
