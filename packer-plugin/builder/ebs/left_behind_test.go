package ebs

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

func TestACancelDuringTheLastCleanupLeavesNothing(t *testing.T) {
	f := newFixture(t)
	before := f.Holdings()
	f.interrupt(before, "terminate", fakeaws.Fault{Action: "TerminateInstances"}, "cancelled after")
	if len(f.Images(region)) > 0 && strings.Contains(strings.Join(f.Holdings(), "\n"), `"app-1"`) {
		t.Error("the image is left although Packer drops the artifact")
	}
}

func TestACancelAfterAReplacementKeepsTheNewImage(t *testing.T) {
	f := newFixture(t)
	if _, err := f.build(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := f.Front.Inject(fakeaws.Fault{Action: "TerminateInstances", Effect: fakeaws.Observe, After: func(*fakeaws.Call) { cancel() }}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.build(ctx, map[string]any{"force_deregister": true}); err == nil {
		t.Error("the build succeeded")
	}
	if kept := f.Image(region, "app-1"); !strings.Contains(f.output, "Keeping "+*kept.ImageId) {
		t.Errorf("the output does not name the image that stays:\n%s", f.output)
	}
}

// TestTheCommandsThatAreShownDeleteAll aborts a build as late as possible, and runs what
// it shows with the AWS CLI.
func TestTheCommandsThatAreShownDeleteAll(t *testing.T) {
	cli, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is missing: aws is not on PATH")
	}
	f := newFixture(t)
	before := f.Holdings()
	if err := f.Front.Inject(fakeaws.Fault{Action: "EnableImageDeprecation", Effect: fakeaws.Fail, Code: "InjectedFault", Message: "by the test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.build(t.Context(), widest, map[string]any{"packer_on_error": "abort"}); err == nil {
		t.Fatal("the build succeeded")
	}
	var commands []string
	for line := range strings.Lines(f.output) {
		if command, ok := strings.CutPrefix(line, "  aws "); ok {
			// An option of 2025, which neither older CLIs nor moto know.
			commands = append(commands, strings.Replace(command, " --delete-associated-snapshots", "", 1))
		}
	}
	if len(commands) != 6 {
		t.Fatalf("got %d commands:\n%s", len(commands), f.output)
	}
	for _, command := range commands {
		cmd := exec.Command(cli, strings.Fields(command)...)
		cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+f.Front.URL, "AWS_PAGER=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
	left := slices.DeleteFunc(strings.Split(packertest.Difference(before, f.Holdings()), "\n"), func(line string) bool { return line == "" || strings.Contains(line, "snap-") })
	if len(left) > 0 {
		t.Errorf("the commands left\n%s", strings.Join(left, "\n"))
	}
}
