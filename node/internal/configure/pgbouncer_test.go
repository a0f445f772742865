//go:build linux

package configure

import (
	"os"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

func TestNoSessionStateOfAClientReachesAnother(t *testing.T) {
	dir := t.TempDir()
	if _, err := RenderSample(cluster.RoleDB, dir); err != nil {
		t.Fatal(err)
	}
	program := dir + "/sessions.py"
	content, err := os.ReadFile("testdata/sessions.py")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, content, 0o600); err != nil {
		t.Fatal(err)
	}
	debiantree.Script(t, "testdata/pgbouncer.sh", dir, program)
}
