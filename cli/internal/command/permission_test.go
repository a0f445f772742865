//go:build linux

package command

import (
	"slices"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

func TestAStrangersBucketIsNeitherReadNorWritten(t *testing.T) {
	f := newFixture(t)
	front, err := fakeaws.Start(fakeaws.Options{Upstream: f.moto.URL, Fixups: fixups.All(fixups.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	layout := cluster.Layout{Cluster: "production"}
	// A bucket that would send the operator to the stranger's registry.
	const theirs = "uploads-of-another-account"
	stranger := mototest.StrangersBucket(t, front.URL, theirs, map[string]string{layout.Topology(): f.object(layout.Topology())})
	t.Setenv("AWS_ENDPOINT_URL", front.URL)
	for _, args := range [][]string{{"deploy", f.dir, "--wheelhouse", f.house}, {"status", "--cluster", "production"}} {
		f.run(append(args, "--uploads-bucket", theirs)...).expect(t, exitUnreachable, "AccessDenied")
	}
	if keys := mototest.Keys(t, stranger, theirs); !slices.Equal(keys, []string{layout.Topology()}) {
		t.Errorf("the stranger's bucket has %v", keys)
	}
	f.run("status").expect(t, 0)
}
