// Command xeroops-lab is a stand-in for AWS on one Linux host.
package main

import (
	"os"

	"github.com/xeroops/xeroops/lab/internal/cli"
)

func main() { os.Exit(cli.Execute()) }
