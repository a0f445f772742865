package bundle

import (
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
)

func TestPortRangeMatchesTheServiceTable(t *testing.T) {
	for _, s := range cluster.ServicesOf(cluster.RoleApp) {
		if s.Name != "applications" {
			continue
		}
		if len(s.Ports) != 1 || s.Ports[0].Port != FirstPort || s.Ports[0].Last() != LastPort {
			t.Errorf("service-ports.json opens %v for applications, bundles may use %d to %d", s.Ports, FirstPort, LastPort)
		}
		return
	}
	t.Error("service-ports.json has no service applications")
}
