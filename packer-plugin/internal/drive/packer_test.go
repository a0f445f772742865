//go:build unix

package drive_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

// packer returns a function that creates Packer commands with the plugin installed.
// It skips the test if Packer is neither on PATH nor named by XEROOPS_PACKER.
func packer(t *testing.T) func(args ...string) *exec.Cmd {
	t.Helper()
	name := os.Getenv(cluster.EnvPacker)
	if name == "" {
		name = "packer"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("packer is neither on PATH nor named by XEROOPS_PACKER")
	}
	dir := t.TempDir()
	environment := append(os.Environ(), "CHECKPOINT_DISABLE=1", "PACKER_NO_COLOR=1",
		"PACKER_CONFIG_DIR="+dir, "PACKER_PLUGIN_PATH="+filepath.Join(dir, "plugins"))
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(path, args...)
		cmd.Env = environment
		return cmd
	}
	run(t, command("plugins", "install", "--path", plugin(t), "github.com/xeroops/xeroops"))
	return command
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

func TestPackerItselfBuildsAnImage(t *testing.T) {
	f := packertest.New(t)
	packer := packer(t)
	f.Record = `{"schema":1,"role":"app","version":"9.8.7","packages":[]}`
	output := filepath.Join(t.TempDir(), "images.auto.tfvars.json")
	template := writeTemplate(t, f, output)
	run(t, packer("init", template))
	run(t, packer("validate", template))
	t.Log(run(t, packer("build", template)))
	content, err := os.ReadFile(output)
	if id := aws.ToString(f.Image(packertest.Region, "app-after-").ImageId); err != nil || !strings.Contains(string(content), id) {
		t.Errorf("the manifest is %s, %v, want %s", content, err, id)
	}
}

func TestPackerItselfInterruptedByControlCLeavesNothing(t *testing.T) {
	f := packertest.New(t)
	packer := packer(t)
	before := f.Holdings()
	cmd := packer("build", writeTemplate(t, f, filepath.Join(t.TempDir(), "images.auto.tfvars.json")))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C in a terminal also reaches the plugins
	var shown safeBuffer
	cmd.Stdout, cmd.Stderr = &shown, &shown
	err := f.Front.Inject(fakeaws.Fault{Action: "RunInstances", Effect: fakeaws.Observe, After: func(*fakeaws.Call) {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); err == nil {
		t.Error("packer succeeded")
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		t.Errorf("%s\noutput:\n%s", diff, shown.String())
	}
}

func TestPackerItselfReadsTheExamples(t *testing.T) {
	packer := packer(t)
	file := filepath.Join(t.TempDir(), "xeroops-node")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const images, custom = "../../../examples/images", "../../../examples/custom-image"
	for name, test := range map[string]struct {
		example   string
		variables []string
	}{
		"images": {images, nil},
		"images for arm64, copied and shared": {images, []string{"architecture=arm64", `copy_to_regions=["eu-central-1"]`, "region=eu-west-1",
			"kms_key_id=alias/images", `region_kms_key_ids={"eu-central-1"="alias/images"}`, `share_with_accounts=["111122223333"]`, "ssm_parameter_prefix=/xeroops/images"}},
		"custom-image": {custom, []string{"ca_certificate=" + file}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, packer("init", test.example))
			args := []string{"validate"}
			for _, v := range append(test.variables, `ssh_from=["192.0.2.7/32"]`, "node_binary="+file) {
				args = append(args, "-var", v)
			}
			run(t, packer(append(args, test.example)...))
			run(t, packer("fmt", "-check", test.example))
		})
	}
}

// cleanupRan is the file, beside the template, that the error-cleanup-provisioner creates.
const cleanupRan = "cleanup-provisioner-ran"

// appTemplate uses every component. Its verbs are the URL of AWS, the machine's port,
// the manifest's path and what the error-cleanup-provisioner creates.
const appTemplate = `
packer {
  required_plugins {
    xeroops = {
      source  = "github.com/xeroops/xeroops"
      version = ">= 9.0.0"
    }
  }
}

data "xeroops-image" "before" {
  region   = "eu-west-1"
  role     = "app"
  version  = "9.8.7"
  optional = true
  endpoints {
    ec2 = %[1]q
    sts = %[1]q
  }
}

source "xeroops-ebs" "app" {
  region                                = "eu-west-1"
  ami_name                              = "app-after-${data.xeroops-image.before.id}"
  temporary_security_group_source_cidrs = ["192.0.2.7/32"]
  ssh_host                              = "127.0.0.1"
  ssh_port                              = %[2]d
  poll_interval                         = "5ms"
  subnet_filter {
    filters = { "default-for-az" = "true" }
  }
  launch_block_device_mappings {
    device_name = "/dev/sdf"
    volume_size = 1
  }
  endpoints {
    ec2 = %[1]q
    sts = %[1]q
  }
}

build {
  sources = ["source.xeroops-ebs.app"]
  provisioner "xeroops-role" {
    role        = "app"
    environment = { SOURCE = build.SourceAMI }
  }
  error-cleanup-provisioner "shell-local" {
    inline = ["touch %[4]s"]
  }
  post-processor "xeroops-manifest" {
    output = %[3]q
  }
}
`

func writeTemplate(t *testing.T, f *packertest.Fixture, output string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.pkr.hcl")
	cleanup := filepath.Join(filepath.Dir(path), cleanupRan)
	if err := os.WriteFile(path, fmt.Appendf(nil, appTemplate, f.Front.URL, f.Machine.Port(), output, cleanup), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
