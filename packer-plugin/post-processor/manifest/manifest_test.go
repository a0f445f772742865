package manifest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/internal/cluster"
)

func artifact(id, role string) *packersdk.MockArtifact {
	a := &packersdk.MockArtifact{IdValue: id, StateValues: map[string]any{}}
	if role != "" {
		a.StateValues["xeroops_role"] = role
	}
	return a
}

// artifactOf returns an artifact of xeroops-ebs.
func artifactOf(id, role, region, architecture string) *packersdk.MockArtifact {
	a := artifact(id, role)
	a.StateValues["xeroops_region"], a.StateValues["xeroops_architecture"] = region, architecture
	return a
}

func process(t *testing.T, config map[string]any, a packersdk.Artifact) error {
	t.Helper()
	var p PostProcessor
	if err := p.Configure(config); err != nil {
		t.Fatal(err)
	}
	got, keep, force, err := p.PostProcess(t.Context(), &packersdk.MockUi{}, a)
	if err == nil && (got != a || !keep || !force) {
		t.Errorf("the artifact is not passed on and kept: %v, %v, %v", got, keep, force)
	}
	return err
}

func TestConcurrentBuildsAddToOneFile(t *testing.T) {
	output := filepath.Join(t.TempDir(), "images.auto.tfvars.json")
	if err := os.WriteFile(output, []byte(`{"other":{"a":[1]},"image_ids":{"app":"ami-0"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, role := range cluster.Roles() {
		group.Go(func() {
			if err := process(t, map[string]any{"output": output}, artifact("eu-west-1:ami-1", string(role))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	content, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	var variables struct {
		Other  map[string][]int  `json:"other"`
		Images map[string]string `json:"image_ids"`
	}
	if err := json.Unmarshal(content, &variables); err != nil {
		t.Fatal(err)
	}
	if len(variables.Images) != len(cluster.Roles()) || variables.Images["app"] != "ami-1" || len(variables.Other["a"]) != 1 {
		t.Errorf("got %s", content)
	}
}

func TestAnAmbiguousArtifactIsRejected(t *testing.T) {
	output := filepath.Join(t.TempDir(), "images.auto.tfvars.json")
	for want, test := range map[string]struct {
		config   map[string]any
		artifact packersdk.Artifact
	}{
		"set role":                       {nil, artifact("eu-west-1:ami-1", "")},
		"select the image for Terraform": {nil, artifact("eu-west-1:ami-1,us-east-1:ami-2", "app")},
		"not a list":                     {nil, artifact("output-qemu/disk", "app")},
		"set region to one of these":     {map[string]any{"region": "eu-north-1"}, artifact("eu-west-1:ami-1", "app")},
		"set architecture":               {map[string]any{"ssm_parameter_prefix": "/images"}, artifact("eu-west-1:ami-1", "app")},
	} {
		config := map[string]any{"output": output}
		for key, value := range test.config {
			config[key] = value
		}
		if err := process(t, config, test.artifact); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := os.Stat(output); err == nil {
		t.Error("a file was written despite the errors")
	}
}

func TestTerraformGetsTheImageInTheRegionOfTheBuild(t *testing.T) {
	output := filepath.Join(t.TempDir(), "images.auto.tfvars.json")
	if err := process(t, map[string]any{"output": output}, artifactOf("eu-west-1:ami-1,us-east-1:ami-2", "db", "us-east-1", "x86_64")); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(output); err != nil || !strings.Contains(string(content), "ami-2") {
		t.Errorf("got %s, %v", content, err)
	}
}

func TestAnImageWhoseParametersFailIsNotInTheFile(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "/us-east-1/") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"AccessDeniedException","message":"by the test"}`)
			return
		}
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(server.Close)
	output := filepath.Join(t.TempDir(), "images.auto.tfvars.json")
	err := process(t, map[string]any{"output": output, "ssm_parameter_prefix": "/images", "endpoints": map[string]any{"ssm": server.URL, "sts": server.URL}},
		artifactOf("eu-west-1:ami-1,us-east-1:ami-2", "db", "eu-west-1", "x86_64"))
	if err == nil || !strings.Contains(err.Error(), "the parameter in eu-west-1 has the id of this build's image") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(output); err == nil {
		t.Error("the file has an image that Packer deletes")
	}
}

func spoiled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spoiled.tfvars.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestParametersAreWrittenInEveryRegion checks the requests, because the tests' AWS
// has no SSM.
func TestParametersAreWrittenInEveryRegion(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	var mu sync.Mutex
	sent := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var in struct{ Name, Value, DataType string }
		if json.Unmarshal(body, &in) == nil && in.DataType == "aws:ec2:image" {
			mu.Lock()
			region := strings.Split(r.Header.Get("Authorization"), "/")[2]
			sent[region+" "+in.Name] = in.Value
			mu.Unlock()
		}
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(server.Close)
	err := process(t, map[string]any{
		"output": filepath.Join(t.TempDir(), "images.auto.tfvars.json"), "ssm_parameter_prefix": "/xeroops/images/",
		"endpoints": map[string]any{"ssm": server.URL, "sts": server.URL},
	}, artifactOf("eu-west-1:ami-1,us-east-1:ami-2", "db", "us-east-1", "arm64"))
	if err != nil {
		t.Fatal(err)
	}
	if len(sent) != 2 || sent["eu-west-1 /xeroops/images/db/arm64"] != "ami-1" || sent["us-east-1 /xeroops/images/db/arm64"] != "ami-2" {
		t.Errorf("sent %v", sent)
	}
}

func TestValuesThatAreKnownWhenTheBuildStartsAreAccepted(t *testing.T) {
	if err := new(PostProcessor).Configure(map[string]any{"output": "<unknown>", "role": "<unknown>", "architecture": "<unknown>", "ssm_parameter_prefix": "<unknown>"}); err != nil {
		t.Error(err)
	}
}

func TestInvalidConfigurationIsRejected(t *testing.T) {
	for want, config := range map[string]map[string]any{
		".tfvars.json":      {"output": "images.json"},
		"create the dir":    {"output": "/nowhere/images.tfvars.json"},
		"repair or remove":  {"output": spoiled(t)},
		"x86_64 or arm64":   {"architecture": "amd64"},
		"AWS reserves":      {"ssm_parameter_prefix": "/aws/images"},
		"is not a path":     {"ssm_parameter_prefix": "/xeroops images"},
		"unknown role":      {"role": "web"},
		"must begin with /": {"ssm_parameter_prefix": "images"},
	} {
		if err := new(PostProcessor).Configure(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", config, err, want)
		}
	}
}
