//go:build linux

package labtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
)

// onlyWireGuard is the smallest of the images.
const onlyWireGuard = `roles=["wireguard"]`

// TestImageBuildsThatEndEarlyLeaveNothing runs with Packer if it is installed, and
// with bake, its stand-in.
func TestImageBuildsThatEndEarlyLeaveNothing(t *testing.T) {
	l := sharedLab(t)
	l.buildForImages()
	packer := os.Getenv(cluster.EnvPacker)
	if path, err := exec.LookPath("packer"); packer == "" && err == nil {
		packer = path
	}
	for name, binary := range map[string]string{"Packer": packer, "WithoutPacker": "none"} {
		t.Run(name, func(t *testing.T) {
			if binary == "" {
				t.Skip("packer is neither on PATH nor named by XEROOPS_PACKER")
			}
			t.Setenv(cluster.EnvPacker, binary)
			l := l.with(t)
			t.Run("Failed", func(t *testing.T) { l.with(t).checkFailedBuild() })
			t.Run("Interrupted", func(t *testing.T) { l.with(t).checkInterruptedBuild() })
			t.Run("NextOneWorks", func(t *testing.T) {
				got := readManifest(t, l.with(t).images("-fresh", "-var", onlyWireGuard))
				if len(got) != 1 {
					t.Errorf("the manifest has %v", got)
				}
				for _, id := range got { // other tests in this lab expect the base image
					_, err := l.ec2.DeregisterImage(t.Context(), &ec2.DeregisterImageInput{ImageId: &id})
					must(t, err)
				}
			})
		})
	}
}

// holdings lists the resources of the account, including images.
func (l *lab) holdings() []string {
	l.t.Helper()
	items, err := inventory.List(l.t.Context(), inventory.Config(fmt.Sprintf("http://127.0.0.1:%d", l.config.Port), l.config.Region))
	must(l.t, err)
	lines := inventory.Lines(items)
	out, err := l.ec2.DescribeImages(l.t.Context(), &ec2.DescribeImagesInput{Owners: []string{"self"}})
	must(l.t, err)
	for _, i := range out.Images {
		lines = append(lines, "image "+aws.ToString(i.Name))
	}
	return lines
}

// leavesNothing runs a build that fails and checks that it leaves no resources.
func (l *lab) leavesNothing(build func() (output string)) {
	l.t.Helper()
	before := l.holdings()
	output := build()
	if after := l.holdings(); !slices.Equal(after, before) {
		l.t.Errorf("resources before:\n%s\nafter:\n%s\noutput of the build:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"), output)
	}
	l.until("no machine is left", 30*time.Second, func() (bool, string) {
		all := l.status()
		return len(all) == 0, fmt.Sprint(all)
	})
}

func (l *lab) checkFailedBuild() {
	l.leavesNothing(func() string {
		manifest := filepath.Join(l.t.TempDir(), "images.auto.tfvars.json")
		out, err := l.imagesCommand(manifest, "-fresh", "-var", onlyWireGuard, "-var", `apt_sources=["deb http://nowhere.invalid/debian trixie main"]`).CombinedOutput()
		if err == nil {
			l.t.Errorf("a build without packages succeeded:\n%s", out)
		}
		if _, err := os.Stat(manifest); err == nil {
			l.t.Error("there is a manifest")
		}
		return string(out)
	})
}

// checkInterruptedBuild sends SIGINT to the process group, as Ctrl-C does, while the
// build's machine is running.
func (l *lab) checkInterruptedBuild() {
	l.leavesNothing(func() string {
		cmd := l.imagesCommand(filepath.Join(l.t.TempDir(), "images.auto.tfvars.json"), "-fresh", "-var", onlyWireGuard)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var shown bytes.Buffer
		cmd.Stdout, cmd.Stderr = &shown, &shown
		must(l.t, cmd.Start())
		l.until("the build's machine runs", 2*time.Minute, func() (bool, string) {
			all := l.status()
			return len(all) > 0 && all[0].Ready, fmt.Sprint(all)
		})
		must(l.t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
		if err := cmd.Wait(); err == nil {
			l.t.Error("it succeeded")
		}
		return shown.String()
	})
}
