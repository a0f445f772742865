//go:build !linux

package moto

import "syscall"

// processAttributes puts moto into a process group of its own; only Linux can
// have it killed when the parent dies.
func processAttributes(bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
