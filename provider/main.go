// Terraform-provider-xeroops is the Terraform provider of XeroOps.
package main

import (
	"context"
	"flag"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/xeroops/xeroops/provider/internal/provider"
)

// version is set by the linker in release builds.
var version = "dev"

func main() {
	debug := flag.Bool("debug", false, "run so that a debugger can be attached; prints TF_REATTACH_PROVIDERS")
	flag.Parse()
	err := providerserver.Serve(context.Background(), provider.New(version), providerserver.ServeOpts{
		Address:         "registry.terraform.io/xeroops/xeroops",
		ProtocolVersion: 6,
		Debug:           *debug,
	})
	if err != nil {
		log.Fatal(err)
	}
}
