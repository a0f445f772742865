package ebs

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

const region, otherRegion = packertest.Region, packertest.OtherRegion

func TestMain(m *testing.M) { packertest.Main(m) }

// fixture runs the builder in this process.
type fixture struct {
	*packertest.Fixture
	t      *testing.T
	more   map[string]any // of every build's configuration
	answer string         // to every question
	hook   recordingHook
	output string // of the last build
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return &fixture{Fixture: packertest.New(t), t: t}
}

// build runs a build.
func (f *fixture) build(ctx context.Context, more ...map[string]any) (packersdk.Artifact, error) {
	f.t.Helper()
	var b Builder
	raws := []any{f.Config(nil), f.more}
	for _, m := range more {
		raws = append(raws, m)
	}
	if _, _, err := b.Prepare(raws...); err != nil {
		f.t.Fatal(err)
	}
	ui := &answeringUI{Ui: packersdk.TestUi(f.t), answer: f.answer}
	artifact, err := b.Run(ctx, ui, &f.hook)
	f.output = ui.String()
	return artifact, err
}

// maxAnswers ends a build that would be retried forever.
const maxAnswers = 100 // -debug asks about 40 times

// answeringUI records what the user sees, and gives one answer to every
// question.
type answeringUI struct {
	packersdk.Ui
	answer string

	asked int

	mu    sync.Mutex
	shown strings.Builder
}

func (u *answeringUI) show(text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	fmt.Fprintln(&u.shown, text)
}

func (u *answeringUI) String() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.shown.String()
}

func (u *answeringUI) Say(m string)     { u.show(m) }
func (u *answeringUI) Message(m string) { u.show(m) }
func (u *answeringUI) Error(m string)   { u.show(m) }
func (u *answeringUI) Ask(m string) (string, error) {
	u.show(m)
	if u.asked++; u.asked > maxAnswers {
		return "c", nil
	}
	return u.answer, nil
}

// recordingHook records which hooks ran; fail may fail one.
type recordingHook struct {
	fail func(name string) error
	ran  []string
	data map[string]any
}

func (h *recordingHook) Run(_ context.Context, name string, _ packersdk.Ui, _ packersdk.Communicator, data any) error {
	h.ran = append(h.ran, name)
	h.data, _ = data.(map[string]any)
	if h.fail == nil {
		return nil
	}
	return h.fail(name)
}
