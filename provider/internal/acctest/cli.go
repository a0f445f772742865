package acctest

import (
	"os"
	"testing"

	"github.com/xeroops/xeroops/internal/testkit/tfcli"
)

// setCLI sets the environment variables that terraform-plugin-testing reads.
func setCLI(t *testing.T, cli tfcli.CLI) {
	t.Setenv("TF_ACC", "1")
	t.Setenv("TF_ACC_TERRAFORM_PATH", cli.Path)
	t.Setenv("TF_CLI_CONFIG_FILE", os.DevNull) // the developer's dev_overrides would replace the provider
	t.Setenv("CHECKPOINT_DISABLE", "1")
	if cli.OpenTofu {
		t.Setenv("TF_ACC_PROVIDER_HOST", "registry.opentofu.org")
		t.Setenv("TF_ACC_PROVIDER_NAMESPACE", "hashicorp")
	}
}
