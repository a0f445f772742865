package ebs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

// TestOnErrorAskRetriesAStep refuses each call of a build in turn, every third
// unless XEROOPS_SWEEP=full, and retries the step that failed.
func TestOnErrorAskRetriesAStep(t *testing.T) {
	f := newFixture(t)
	f.answer = "r"
	before := f.Holdings()
	every := 3
	if os.Getenv(cluster.EnvSweep) == "full" {
		every = 1
	}
	retried := 0
	for n := 1; ; n += every {
		f.Front.ClearFaults()
		f.Front.ClearCalls()
		if err := f.Front.Inject(fakeaws.Fault{Service: fakeaws.EC2, Nth: n, Effect: fakeaws.Fail, Code: "InjectedFault", Message: "by the test"}); err != nil {
			t.Fatal(err)
		}
		artifact, err := f.build(t.Context(), map[string]any{"packer_on_error": "ask", "ami_regions": []string{otherRegion}})
		if err != nil {
			t.Fatalf("call %d: the build failed although the step was retried: %v\n%s", n, err, f.output)
		}
		if strings.Contains(f.output, "[r] retry step") {
			retried++
		}
		if err := artifact.Destroy(); err != nil {
			t.Fatal(err)
		}
		if diff := packertest.Difference(before, f.Holdings()); diff != "" {
			t.Fatalf("call %d: the build left\n%s\noutput:\n%s", n, diff, f.output)
		}
		if f.ec2Calls() < n {
			break
		}
	}
	if retried < 5 {
		t.Errorf("only %d builds retried a step", retried)
	}
}

func TestOnErrorAskRetryRecreatesAFailedImage(t *testing.T) {
	f := newFixture(t)
	f.answer = "r"
	before := f.Holdings()
	err := f.Front.Inject(fakeaws.Fault{Action: "CreateImage", Effect: fakeaws.Observe, After: func(*fakeaws.Call) {
		for _, i := range f.Images(region) { // as a failed image that is deregistered
			if aws.ToString(i.Name) == "app-1" {
				if _, err := f.EC2[region].DeregisterImage(t.Context(), &ec2.DeregisterImageInput{ImageId: i.ImageId}); err != nil {
					t.Error(err)
				}
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	artifact, err := f.build(t.Context(), map[string]any{"packer_on_error": "ask", "poll_timeout": "1s"})
	if err != nil {
		t.Fatalf("%v\n%s", err, f.output)
	}
	if err := artifact.Destroy(); err != nil {
		t.Fatal(err)
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		t.Error(diff)
	}
}

func TestOnErrorDecidesAboutCleanup(t *testing.T) {
	for _, test := range []struct {
		onError, answer string
		hooks           []string
		cleaned         bool
	}{
		{onError: "cleanup", hooks: []string{packersdk.HookProvision, packersdk.HookCleanupProvision}, cleaned: true},
		{onError: "ask", answer: "c", hooks: []string{packersdk.HookProvision, packersdk.HookCleanupProvision}, cleaned: true},
		{onError: "ask", answer: "a", hooks: []string{packersdk.HookProvision}},
		{onError: "abort", hooks: []string{packersdk.HookProvision}},
		{onError: "run-cleanup-provisioner", hooks: []string{packersdk.HookProvision, packersdk.HookCleanupProvision}},
	} {
		t.Run(test.onError+test.answer, func(t *testing.T) {
			f := newFixture(t)
			f.answer = test.answer
			f.hook.fail = func(name string) error {
				if name == packersdk.HookProvision {
					return errors.New("no space left on device")
				}
				return nil
			}
			before := f.Holdings()
			_, err := f.build(t.Context(), map[string]any{"packer_on_error": test.onError})
			if err == nil || !strings.Contains(err.Error(), "no space left on device") {
				t.Fatalf("got %v, want the provisioner's error", err)
			}
			if !slices.Equal(f.hook.ran, test.hooks) {
				t.Errorf("hooks run: %v, want %v", f.hook.ran, test.hooks)
			}
			if cleaned := packertest.Difference(before, f.Holdings()) == ""; cleaned != test.cleaned {
				t.Errorf("cleaned up: %v, want %v\n%s", cleaned, test.cleaned, f.output)
			}
			if named := strings.Contains(f.output, "Not cleaned up: resources with the tag "+tagBuild+" = "); named == test.cleaned {
				t.Errorf("the output names what is left: %v\n%s", named, f.output)
			}
		})
	}
}

func TestDebugPausesAfterEachStepAndSavesTheKey(t *testing.T) {
	f := newFixture(t)
	t.Chdir(t.TempDir())
	if _, err := f.build(t.Context(), map[string]any{"packer_debug": true, "packer_build_name": "app", "skip_create_ami": true}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"stepRunInstance", "StepProvision"} {
		if want := fmt.Sprintf("Pausing after run of step '%s'", step); !strings.Contains(f.output, want) {
			t.Errorf("the output has no %q:\n%s", want, f.output)
		}
	}
	if key, err := os.ReadFile(filepath.Join(".", "xeroops_app.pem")); err != nil || !strings.Contains(string(key), "PRIVATE KEY") {
		t.Errorf("the key file holds %d bytes, %v", len(key), err)
	}
}

func TestProvisionersGetTheSourceImageAndTheHost(t *testing.T) {
	f := newFixture(t)
	if _, err := f.build(t.Context(), map[string]any{"skip_create_ami": true}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"Host": "127.0.0.1", "BuildRegion": region, "ConnType": "ssh"} {
		if f.hook.data[key] != want {
			t.Errorf("%s is %v, want %s", key, f.hook.data[key], want)
		}
	}
	for key, prefix := range map[string]string{"ID": "i-", "SourceAMI": "ami-", "SSHPrivateKey": "-----BEGIN"} {
		if value, _ := f.hook.data[key].(string); !strings.HasPrefix(value, prefix) {
			t.Errorf("%s is %v, want %s…", key, f.hook.data[key], prefix)
		}
	}
}
