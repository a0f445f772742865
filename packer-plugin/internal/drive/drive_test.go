package drive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/zclconf/go-cty/cty"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/packer-plugin/internal/drive"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

func TestMain(m *testing.M) { packertest.Main(m) }

// binary is the plugin, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "packer-plugin-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "packer-plugin-xeroops")
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version=9.8.7", "-o", path, "github.com/xeroops/xeroops/packer-plugin").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func plugin(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// screen is a Ui that records its output.
type screen struct {
	packersdk.BasicUi
	shown safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *safeBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func newScreen() *screen {
	s := &screen{}
	s.Writer, s.ErrorWriter = &s.shown, &s.shown
	return s
}

func TestThePluginDescribesItsComponents(t *testing.T) {
	out, err := exec.Command(plugin(t), "describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	var description struct {
		Version        string   `json:"version"`
		Builders       []string `json:"builders"`
		Provisioners   []string `json:"provisioners"`
		Datasources    []string `json:"datasources"`
		PostProcessors []string `json:"post_processors"`
	}
	if err := json.Unmarshal(out, &description); err != nil {
		t.Fatal(err)
	}
	if description.Version != "9.8.7" || !slices.Equal(slices.Concat(description.Builders, description.Provisioners, description.Datasources, description.PostProcessors),
		[]string{"ebs", "role", "image", "manifest"}) {
		t.Errorf("got %s", out)
	}
}

// template returns a build of role app, as in a customer's HCL.
func template(t *testing.T, f *packertest.Fixture, output string) drive.Template {
	t.Helper()
	return drive.Template{
		Builder:        drive.Component{Name: "ebs", Config: f.Config(nil)},
		Provisioners:   []drive.Component{{Name: "role", Config: map[string]any{"role": "app"}}},
		PostProcessors: []drive.Component{{Name: "manifest", Config: map[string]any{"output": output}}},
	}
}

func TestABuildWithAllComponentsOutOfProcess(t *testing.T) {
	f := packertest.New(t)
	output := filepath.Join(t.TempDir(), "images.auto.tfvars.json")
	f.Record = `{"schema":1,"role":"app","version":"9.8.7","packages":[]}`
	ui := newScreen()
	var log safeBuffer
	artifact, err := drive.Build(t.Context(), plugin(t), template(t, f, output), ui, &log)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, ui.shown.String(), log.String())
	}
	id := aws.ToString(f.Image(packertest.Region, "app-1").ImageId)
	content, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	var variables struct {
		Images map[string]string `json:"image_ids"`
	}
	if err := json.Unmarshal(content, &variables); err != nil || variables.Images["app"] != id {
		t.Errorf("the manifest is %s, %v, want app = %s", content, err, id)
	}
	var scripts []string
	for _, command := range f.Ran() {
		if _, script, ok := strings.Cut(command, "sh -eu scripts/"); ok {
			name, _, _ := strings.Cut(script, ".sh")
			scripts = append(scripts, name)
		}
	}
	if want := []string{"files", "packages", "install", "verify", "seal", "scan"}; !slices.Equal(scripts, want) {
		t.Errorf("the provisioner ran %v, want %v", scripts, want)
	}
	found := findImage(t, f)
	if got := found["id"].AsString(); got != id {
		t.Errorf("the data source finds %s, want %s", got, id)
	}
	if err := artifact.Destroy(); err != nil {
		t.Fatal(err)
	}
	if err := drive.Close(artifact); err != nil {
		t.Fatal(err)
	}
}

// findImage reads the image of app through the data source, by version: moto's
// creation dates have seconds only, so one of the seeded images may be as new.
func findImage(t *testing.T, f *packertest.Fixture) map[string]cty.Value {
	t.Helper()
	p, err := drive.Start(t.Context(), plugin(t), "datasource", "image", &safeBuffer{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	source := p.Datasource()
	if err := source.Configure(map[string]any{"role": "app", "version": "9.8.7", "region": packertest.Region,
		"endpoints": map[string]any{"ec2": f.Front.URL, "sts": f.Front.URL}}); err != nil {
		t.Fatal(err)
	}
	value, err := source.Execute()
	if err != nil {
		t.Fatal(err)
	}
	return value.AsValueMap()
}

func TestABuildThatIsCancelledOutOfProcessLeavesNothing(t *testing.T) {
	f := packertest.New(t)
	before := f.Holdings()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := f.Front.Inject(fakeaws.Fault{Action: "RunInstances", Effect: fakeaws.Observe, After: func(*fakeaws.Call) { cancel() }}); err != nil {
		t.Fatal(err)
	}
	var log safeBuffer
	started := time.Now()
	artifact, err := drive.Build(ctx, plugin(t), template(t, f, filepath.Join(t.TempDir(), "x.tfvars.json")), newScreen(), &log)
	if err == nil || artifact != nil {
		t.Errorf("got %v, %v after %s", artifact, err, time.Since(started))
	}
	if diff := packertest.Difference(before, f.Holdings()); diff != "" {
		t.Errorf("%s\n%s", diff, log.String())
	}
}

func TestConfigurationErrorsAreReturnedOverRPC(t *testing.T) {
	_, err := drive.Build(t.Context(), plugin(t), drive.Template{Builder: drive.Component{Name: "ebs", Config: map[string]any{"ami_name": "x"}}}, newScreen(), &safeBuffer{})
	if err == nil || !strings.Contains(err.Error(), "temporary_security_group_source_cidrs") {
		t.Errorf("got %v", err)
	}
	if _, err := drive.Start(t.Context(), "/bin/true", "builder", "ebs", &safeBuffer{}); err == nil {
		t.Error("a program that is not a plugin was started")
	}
}
