// Package version is the plugin's version, as `packer plugins install` and
// `packer init` read it from the binary.
package version

import sdk "github.com/hashicorp/packer-plugin-sdk/version"

// Plugin returns the version that the build set, such as 0.1.0 or 0.2.0-dev.
func Plugin(raw string) *sdk.PluginVersion { return sdk.NewRawVersion(raw) }
