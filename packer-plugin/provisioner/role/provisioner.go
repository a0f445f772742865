// Package role is the provisioner xeroops-role: it makes a Debian machine one
// of the cluster's roles and seals it to be an image.
//
// The contract: it needs nothing of the builder but a communicator and a login
// that may become root with sudo; running it again changes nothing; a machine
// on which a unit is missing, a check of a role fails or a secret is found
// makes the build fail. It is the last provisioner: sealing removes the keys
// and logs that another one might want.
package role

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/uuid"

	"github.com/xeroops/xeroops/templates"
)

// Provisioner is the provisioner xeroops-role.
type Provisioner struct {
	Version string // of XeroOps, recorded in the image

	config Config
	roles  fs.FS // nil: those embedded
}

var _ packersdk.Provisioner = (*Provisioner)(nil)

// ConfigSpec is the layout of the provisioner's block in HCL.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare reads the configuration.
func (p *Provisioner) Prepare(raws ...any) error {
	if p.roles == nil {
		roles, err := fs.Sub(templates.Roles, "roles")
		if err != nil {
			return err
		}
		p.roles = roles
	}
	return p.config.prepare(raws)
}

// Content is what an image of this configuration is going to have as its
// imagerecord.Record.Content.
func (p *Provisioner) Content() (string, error) {
	sum := sha256.New()
	if err := pack(sum, p.roles, p.config); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Provision installs, verifies, records and seals.
func (p *Provisioner) Provision(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, _ map[string]any) (err error) {
	bundle, content, err := newBundle(p.roles, p.config)
	if err != nil {
		return err
	}
	m := &machine{ui: ui, comm: comm, folder: p.config.RemoteFolder + "/xeroops-" + uuid.TimeOrderedUUID()}
	defer func() {
		if cleanErr := m.clean(); err == nil {
			err = cleanErr
		}
	}()
	if err := m.unpack(ctx, bundle); err != nil {
		return err
	}
	for _, part := range []struct {
		say string
		run func(context.Context) error
	}{
		{"Installing files of " + p.config.Role, m.script("files")},
		{"Installing packages of " + p.config.Role, m.script("packages")},
		{"Setting up " + p.config.Role, m.script("install")},
		{"Verifying units and configuration", m.script("verify")},
		{"Recording what is in the image", func(ctx context.Context) error { return p.writeRecord(ctx, m, content) }},
		{"Sealing", m.script("seal")},
		{"Looking for secrets", m.script("scan")},
	} {
		ui.Say(part.say)
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("role %s: %w", p.config.Role, err)
		}
	}
	return nil
}
