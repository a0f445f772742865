//go:build !linux

package moto

import "syscall"

// processAttributes puts moto into its own process group. Only Linux can kill it
// when the parent dies.
func processAttributes(bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
