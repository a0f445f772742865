//go:build linux && amd64

package role

import (
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

func TestANodeBinaryOfAnotherArchitectureIsRefused(t *testing.T) {
	p := newProvisioner(t, roleTree(), map[string]any{"node_binary": "/proc/self/exe"})
	comm := &packersdk.MockCommunicator{StartStdout: "aarch64\n"}
	err := p.Provision(t.Context(), &packersdk.MockUi{}, comm, nil)
	if err == nil || !strings.Contains(err.Error(), "use the xeroops-node of linux_arm64") {
		t.Errorf("got %v", err)
	}
	if comm.UploadCalled {
		t.Error("the bundle was uploaded")
	}
}
