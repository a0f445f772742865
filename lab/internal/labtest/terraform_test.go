//go:build linux

package labtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/xeroops/xeroops/internal/testkit/tfcli"
)

// terraform runs Terraform with the provider of this checkout on a copy of the
// examples.
type terraform struct {
	lab    *lab
	binary string // path of terraform or tofu
	dir    string // path of examples/complete
	env    []string
}

func newTerraform(l *lab) *terraform {
	l.t.Helper()
	cli, err := tfcli.Find()
	if err != nil {
		l.t.Skip(err)
	}
	provider := build(l.t, "provider", "terraform-provider-xeroops")
	dir := l.t.TempDir()
	if err := tfcli.CopyExamples(dir, filepath.Join(root(l.t), "examples")); err != nil {
		l.t.Fatal(err)
	}
	// The override selects the provider; the empty mirror keeps init off the network.
	mirror := l.t.TempDir()
	config := filepath.Join(dir, "terraform.rc")
	content := fmt.Sprintf("provider_installation {\n  dev_overrides {\n    \"xeroops/xeroops\" = %q\n  }\n  filesystem_mirror {\n    path = %q\n  }\n}\n",
		filepath.Dir(provider), mirror)
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
	t := &terraform{lab: l, binary: cli.Path, dir: filepath.Join(dir, "complete"),
		env: append(append(os.Environ(), l.env...), "TF_CLI_CONFIG_FILE="+config, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")}
	t.run("get", "-no-color")
	return t
}

func (t *terraform) run(args ...string) string {
	t.lab.t.Helper()
	cmd := exec.Command(t.binary, args...)
	cmd.Dir, cmd.Env = t.dir, t.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.lab.t.Fatalf("terraform %v: %v\n%s\n%s", args, err, out, t.lab.log())
	}
	return string(out)
}

// useImages makes nodes use the images of a manifest.
func (t *terraform) useImages(manifest string) {
	t.lab.t.Helper()
	content, err := os.ReadFile(manifest)
	must(t.lab.t, err)
	must(t.lab.t, os.WriteFile(filepath.Join(t.dir, filepath.Base(manifest)), content, 0o600))
}

// unready makes apply not wait for boot reports, which nodes with the base image don't
// write.
const unready = "-var=on_ready_timeout=skip"

// apply applies the reference cluster.
func (t *terraform) apply(vars ...string) {
	t.lab.t.Helper()
	t.run(append([]string{"apply", "-no-color", "-auto-approve", "-input=false"}, vars...)...)
}

func (t *terraform) destroy() {
	t.lab.t.Helper()
	t.apply(unready, "-var=keep_data=false")
	t.run("destroy", "-no-color", "-auto-approve", "-input=false", unready, "-var=keep_data=false")
}

// forget removes the Terraform state of a cluster that ended with its lab.
func (t *terraform) forget() {
	t.lab.t.Helper()
	for _, name := range []string{"terraform.tfstate", "terraform.tfstate.backup"} {
		if err := os.RemoveAll(filepath.Join(t.dir, name)); err != nil {
			t.lab.t.Fatal(err)
		}
	}
}
