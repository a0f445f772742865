// Package templates embeds what is installed on machines, so that every binary
// of the project carries the same copy.
package templates

import "embed"

// ServicePorts is service-ports.json: the one table of services, with their
// roles, units, ports, clients and health checks (docs/design.md#service-table).
// Read it through internal/cluster.Services.
//
//go:embed service-ports.json
var ServicePorts []byte

// UserData holds the cloud-init template that the provider renders once per
// launch (docs/design.md#user-data-and-boot).
//
//go:embed user-data
var UserData embed.FS

// Files holds base/, which every role has, and services/NAME/, one directory
// for each row of service-ports.json. A role is base and its services
// (internal/cluster.TemplateDirs). Every part of such a directory is optional:
//
//	packages     names of Debian packages, one per line; # starts a comment
//	files/       copied to /; files that begin with #! are made executable
//	install.sh   run as root in the image, after files and packages
//	config/      PATH.tmpl, which `xeroops-node boot` renders to /PATH
//	daemon/      templates that the service's Go package renders itself
//	verify.sh    run as root on a copy of the image, with rendered config/
//
// Both scripts run in their own directory, with $XEROOPS_BUNDLE set to the
// provisioner's upload (packer-plugin/provisioner/role).
//
//go:embed all:base all:services
var Files embed.FS
