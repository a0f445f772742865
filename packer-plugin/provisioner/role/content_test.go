//go:build linux

package role

import (
	"testing"
	"testing/fstest"
)

func TestTheContentSumDependsOnEveryInput(t *testing.T) {
	sum := func(change func(fstest.MapFS), config map[string]any) string {
		t.Helper()
		tree := roleTree()
		if change != nil {
			change(tree)
		}
		content, err := newProvisioner(t, tree, config).Content()
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	environment := map[string]string{"A": "1", "B": "2", "C": "3", "D": "4", "E": "5"}
	first := sum(nil, map[string]any{"environment": environment})
	for range 5 { // a map has no order
		if again := sum(nil, map[string]any{"environment": environment}); again != first {
			t.Fatalf("equal content has the sums %s and %s", first, again)
		}
	}
	seen := map[string]string{first: "nothing"}
	for what, other := range map[string]string{
		"a variable":       sum(nil, map[string]any{"environment": map[string]string{"A": "other"}}),
		"an apt source":    sum(nil, map[string]any{"environment": environment, "apt_sources": []string{"deb x"}}),
		"another program":  sum(nil, map[string]any{"environment": environment, "node_binary": "/bin/sh"}),
		"no program":       sum(nil, map[string]any{"environment": environment, "node_binary": ""}),
		"a file of base":   sum(func(f fstest.MapFS) { f["base/files/etc/new"] = &fstest.MapFile{} }, map[string]any{"environment": environment}),
		"a script":         sum(func(f fstest.MapFS) { delete(f, "services/applications/verify.sh") }, map[string]any{"environment": environment}),
		"a package":        sum(func(f fstest.MapFS) { f["services/applications/packages"] = &fstest.MapFile{Data: []byte("x")} }, map[string]any{"environment": environment}),
		"another role":     sum(nil, map[string]any{"environment": environment, "role": "db"}),
		"an excluded path": sum(nil, map[string]any{"environment": environment, "secret_scan_exclude": []string{"/x"}}),
	} {
		if same := seen[other]; same != "" {
			t.Errorf("%s has the same sum as %s", what, same)
		}
		seen[other] = what
	}
	if other := sum(func(f fstest.MapFS) { f["services/etcd/packages"] = &fstest.MapFile{Data: []byte("x")} }, map[string]any{"environment": environment}); other != first {
		t.Error("another role's packages change the sum")
	}
}
