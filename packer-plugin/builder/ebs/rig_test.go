package ebs

import (
	"context"
	"fmt"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

const region, otherRegion = packertest.Region, packertest.OtherRegion

func TestMain(m *testing.M) { packertest.Main(m) }

// rig is a world in which the builder runs in this process.
type rig struct {
	*packertest.World
	t      *testing.T
	more   map[string]any // of every build's configuration
	output string         // what the last build told the user
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{World: packertest.New(t), t: t}
}

// build runs a build.
func (r *rig) build(ctx context.Context, more map[string]any) (packersdk.Artifact, error) {
	r.t.Helper()
	var b Builder
	if _, _, err := b.Prepare(r.Config(more), r.more); err != nil {
		r.t.Fatal(err)
	}
	ui := &packersdk.MockUi{}
	artifact, err := b.Run(ctx, ui, &packersdk.MockHook{})
	r.output = fmt.Sprintf("%v\n%v", ui.SayMessages, ui.ErrorMessage)
	return artifact, err
}
