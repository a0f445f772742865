//go:build !linux

// Package cli implements the xeroops-lab command.
package cli

import (
	"fmt"
	"os"
	"runtime"
)

// Execute reports that the lab does not run on this operating system.
func Execute() int {
	fmt.Fprintf(os.Stderr, "xeroops-lab: the lab runs Linux containers and does not support %s; run it in a Linux virtual machine\n", runtime.GOOS)
	return 4
}
