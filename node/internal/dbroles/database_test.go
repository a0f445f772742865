//go:build linux

package dbroles

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/node/internal/configure"
)

// TestMain makes a copy of this binary behave as xeroops-node database-roles.
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

func TestDatabaseNodeServesItsApplicationOnly(t *testing.T) {
	dir, renewed := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, renewed} {
		if _, err := configure.RenderSample(cluster.RoleDB, d); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	debiantree.Script(t, "testdata/node.sh", dir, binary, renewed)
}
