// Package templates embeds what goes onto machines, so that every binary of
// the project carries the same copy and none has to be told where it lies.
package templates

import "embed"

// ServicePorts is service-ports.json: the one table of services, their units,
// ports, who may connect to them, and their health checks (docs/design.md#service-table).
// Read it through internal/cluster.Services.
//
//go:embed service-ports.json
var ServicePorts []byte

// UserData holds the cloud-init template that the provider renders once per
// launch (docs/design.md#user-data-and-boot).
//
//go:embed user-data
var UserData embed.FS

// Roles holds what the Packer plugin's provisioner installs, a folder per role
// and roles/common for all of them: packages (names, one a line), files/ (copied
// to /), install.sh and verify.sh (run as root). A file that begins with #! is
// executable there.
//
//go:embed all:roles
var Roles embed.FS

// Config holds the templates of services' configuration, config/{common,ROLE}/PATH.tmpl,
// which `xeroops-node boot` renders to /PATH before it starts the role's units.
//
//go:embed all:config
var Config embed.FS
