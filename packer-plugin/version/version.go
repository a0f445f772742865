// Package version provides the plugin's version, which `packer plugins install` and
// `packer init` read from the binary.
package version

import sdk "github.com/hashicorp/packer-plugin-sdk/version"

// Plugin parses the version set by the build, such as 0.1.0 or 0.2.0-dev.
func Plugin(raw string) *sdk.PluginVersion { return sdk.NewRawVersion(raw) }
