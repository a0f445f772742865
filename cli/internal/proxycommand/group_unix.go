//go:build unix

package proxycommand

import (
	"os/exec"
	"syscall"
)

// ownProcessGroup keeps the terminal's signals from a command.
func ownProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
