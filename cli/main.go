// Command xeroops is what an operator types: deploy an application, roll it back,
// and see how the cluster is.
package main

import (
	"os"

	"github.com/xeroops/xeroops/cli/internal/command"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(command.Execute(version)) }
