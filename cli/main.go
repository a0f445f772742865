// Xeroops deploys applications to a XeroOps cluster, rolls them back, and shows the
// cluster's state.
package main

import (
	"os"

	"github.com/xeroops/xeroops/cli/internal/command"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(command.Execute(version)) }
