package packerhcl

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
)

const example = "../../../examples/images"

var now = time.Date(2026, 11, 23, 14, 5, 9, 0, time.UTC)

func TestTheExampleBuildsAnImageOfEachRole(t *testing.T) {
	builds, err := Load(example, map[string]string{"ssh_from": `["192.0.2.7/32"]`, "node_binary": "/x/xeroops-node", "environment": `{A = "b"}`}, now)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range builds {
		names = append(names, b.Name)
		builder, provisioner := b.Template.Builder, b.Template.Provisioners[0]
		if got, want := builder.Config["ami_name"], "xeroops-"+b.Name+"-20261123-140509"; got != want {
			t.Errorf("ami_name is %v, want %v", got, want)
		}
		if got := builder.Config["temporary_security_group_source_cidrs"].([]any); len(got) != 1 || got[0] != "192.0.2.7/32" {
			t.Errorf("source CIDRs are %v", got)
		}
		if _, set := builder.Config["source_ami"]; set {
			t.Error("source_ami is set although its variable is null")
		}
		if provisioner.Name != "role" || provisioner.Config["role"] != b.Name || provisioner.Config["node_binary"] != "/x/xeroops-node" ||
			!maps.Equal(provisioner.Config["environment"].(map[string]any), map[string]any{"A": "b", cluster.EnvBackupEngine: "wal-g"}) {
			t.Errorf("the provisioner is %+v", provisioner)
		}
		if got := b.Template.PostProcessors[0].Config["output"]; got != "images.auto.tfvars.json" {
			t.Errorf("the manifest is %v", got)
		}
	}
	var want []string
	for _, role := range cluster.Roles() {
		want = append(want, string(role))
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("the builds are %v, want %v", names, want)
	}
}

func TestUnsupportedTemplatesAreRejected(t *testing.T) {
	const good = `
variable "name" {
  type    = string
  default = "x"
}
source "xeroops-ebs" "a" {
  ami_name = var.name
}
build {
  source "xeroops-ebs.a" {}
}
`
	for want, change := range map[string][2]string{
		"no default":                 {`  default = "x"`, ``},
		"is not part of this plugin": {`source "xeroops-ebs" "a"`, `source "amazon-ebs" "a"`},
		"does not exist":             {`source "xeroops-ebs.a"`, `source "xeroops-ebs.b"`},
		"Unsupported argument":       {`ami_name`, `ami_nam`},
		"Unsupported block type":     {`build {`, "data \"xeroops-image\" \"x\" {}\nbuild {"},
		"attribute named \"other\"":  {`var.name`, `var.other`},
	} {
		dir := t.TempDir()
		content := strings.Replace(good, change[0], change[1], 1)
		if strings.HasPrefix(change[1], `source "amazon`) {
			content = strings.Replace(content, "xeroops-ebs.a", "amazon-ebs.a", 1)
		}
		if err := os.WriteFile(filepath.Join(dir, "a.pkr.hcl"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, nil, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := Load(example, map[string]string{"ssh_from": `[]`, "regoin": "x"}, now); err == nil || !strings.Contains(err.Error(), "regoin") {
		t.Errorf("an undeclared variable: got %v", err)
	}
	if _, err := Load(t.TempDir(), nil, now); err == nil {
		t.Error("a directory without a template was loaded")
	}
}
