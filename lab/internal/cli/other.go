//go:build !linux

// Package cli is what somebody who uses the lab types.
package cli

import (
	"fmt"
	"os"
	"runtime"
)

// Execute says why there is no lab here.
func Execute() int {
	fmt.Fprintf(os.Stderr, "xeroops-lab: the lab's machines are Linux containers, and this is %s; run it in a Linux virtual machine\n", runtime.GOOS)
	return 4
}
