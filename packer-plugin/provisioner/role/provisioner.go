// Package role is the provisioner xeroops-role, which turns a Debian machine
// into one of the cluster's roles and seals it for an image.
//
// The contract: it needs only a communicator and a login that can become root
// with sudo; running it again changes nothing; the build fails if a unit is
// missing, a check fails or a secret is found. It must be the last provisioner,
// because sealing removes keys and logs that another one might need.
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

	config    Config
	templates fs.FS // nil: templates.Files
}

var _ packersdk.Provisioner = (*Provisioner)(nil)

// ConfigSpec returns the HCL schema of the provisioner's block.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare reads the configuration.
func (p *Provisioner) Prepare(raws ...any) error {
	if p.templates == nil {
		p.templates = templates.Files
	}
	return p.config.prepare(raws)
}

// Content returns the imagerecord.Record.Content that an image of this
// configuration will have.
func (p *Provisioner) Content() (string, error) {
	sum := sha256.New()
	if err := pack(sum, p.templates, p.config); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Provision installs, verifies, records and seals.
func (p *Provisioner) Provision(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, _ map[string]any) (err error) {
	bundle, content, err := newBundle(p.templates, p.config)
	if err != nil {
		return err
	}
	m := &machine{ui: ui, comm: comm, dir: p.config.RemoteFolder + "/xeroops-" + uuid.TimeOrderedUUID()}
	defer func() {
		if cleanErr := m.clean(); err == nil {
			err = cleanErr
		}
	}()
	if err := p.checkArchitecture(ctx, m); err != nil {
		return err
	}
	if err := m.unpack(ctx, bundle); err != nil {
		return err
	}
	for _, part := range []struct {
		say string
		run func(context.Context) error
	}{
		{"Installing files of " + p.config.Role, m.script("files")},
		{"Installing packages of " + p.config.Role, m.script("packages")},
		{"Configuring " + p.config.Role, m.script("install")},
		{"Verifying units and configuration", m.script("verify")},
		{"Recording the content of the image", func(ctx context.Context) error { return p.writeRecord(ctx, m, content) }},
		{"Sealing", m.script("seal")},
		{"Scanning for secrets", m.script("scan")},
	} {
		ui.Say(part.say)
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("role %s: %w", p.config.Role, err)
		}
	}
	return nil
}
