package tfcli

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCopyExamplesSkipsGeneratedFiles(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	kept := map[string]bool{
		"complete/main.tf": true, "modules/cluster/main.tf": true,
		"complete/.terraform/modules/modules.json": false, "complete/.terraform.lock.hcl": false, "complete/terraform.tfstate": false,
		"complete/terraform.tfstate.backup": false, "complete/images.auto.tfvars.json": false, "complete/images.auto.tfvars.json.lock": false,
	}
	for name := range kept {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := CopyExamples(to, from); err != nil {
		t.Fatal(err)
	}
	for name, want := range kept {
		content, err := os.ReadFile(filepath.Join(to, name))
		if there := err == nil && string(content) == name; there != want {
			t.Errorf("%s is copied: %v, want %v", name, there, want)
		}
	}
}
