//go:build linux

package dbroles

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/debiantree"
	"github.com/xeroops/xeroops/node/internal/configure"
)

// TestMain lets a copy of this binary be xeroops-node database-roles.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "xeroops-node" {
		os.Exit(m.Run())
	}
	command := Command()
	command.SetArgs(os.Args[2:])
	if command.Execute() != nil {
		os.Exit(1)
	}
}

func TestADatabaseNodeOfTheTemplatesServesItsApplicationAndNobodyElse(t *testing.T) {
	folder := t.TempDir()
	if _, err := configure.RenderSample(cluster.RoleDB, folder); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("testdata/node.sh")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := debiantree.Command(t, "sh", "-c", string(content), "node.sh", folder, binary)
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID // all ends with the script
	cmd.SysProcAttr.Unshareflags |= syscall.CLONE_NEWNET
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
