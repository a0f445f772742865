// Packer-plugin-xeroops is the Packer plugin of XeroOps: the builder xeroops-ebs, the provisioner
// xeroops-role, the data source xeroops-image and the post-processor
// xeroops-manifest.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/packer-plugin-sdk/plugin"

	"github.com/xeroops/xeroops/packer-plugin/builder/ebs"
	"github.com/xeroops/xeroops/packer-plugin/datasource/image"
	"github.com/xeroops/xeroops/packer-plugin/post-processor/manifest"
	"github.com/xeroops/xeroops/packer-plugin/provisioner/role"
	pluginversion "github.com/xeroops/xeroops/packer-plugin/version"
)

var version = "0.1.0-dev" // set by the build

func main() {
	set := plugin.NewSet()
	set.SetVersion(pluginversion.Plugin(version))
	set.RegisterBuilder("ebs", new(ebs.Builder))
	set.RegisterProvisioner("role", &role.Provisioner{Version: version})
	set.RegisterDatasource("image", new(image.Datasource))
	set.RegisterPostProcessor("manifest", new(manifest.PostProcessor))
	if err := set.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
