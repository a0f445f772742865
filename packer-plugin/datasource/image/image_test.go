package image

import (
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

func TestMain(m *testing.M) { packertest.Main(m) }

func TestTheImageOfARoleIsFound(t *testing.T) {
	f := packertest.New(t)
	find := func(more map[string]any) (DatasourceOutput, error) {
		config := map[string]any{"role": "db", "region": packertest.Region, "endpoints": map[string]any{"ec2": f.Front.URL, "sts": f.Front.URL}}
		for key, value := range more {
			config[key] = value
		}
		var d Datasource
		if err := d.Configure(config); err != nil {
			t.Fatal(err)
		}
		return d.find(t.Context())
	}
	got, err := find(map[string]any{"version": "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	if want := moto.RoleImageID(cluster.RoleDB, "1.0.0"); got.ID != want || got.Role != "db" || got.Version != "1.0.0" || got.Region != packertest.Region {
		t.Errorf("got %+v, want %s", got, want)
	}
	if _, err := find(map[string]any{"architecture": "arm64"}); err == nil || !strings.Contains(err.Error(), "optional = true") {
		t.Errorf("got %v, want an error that names optional", err)
	}
	if got, err := find(map[string]any{"architecture": "arm64", "optional": true}); err != nil || got.ID != "" {
		t.Errorf("got %+v, %v, want an empty result", got, err)
	}
}

func TestAnUnknownRoleIsRejected(t *testing.T) {
	if err := new(Datasource).Configure(map[string]any{"role": "web"}); err == nil || !strings.Contains(err.Error(), "unknown role") {
		t.Errorf("got %v", err)
	}
}
