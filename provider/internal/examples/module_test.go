package examples_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/tfcli"
	"github.com/xeroops/xeroops/provider/internal/acctest/account"
	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

// allVariables sets every variable of the module to another value than its default.
const allVariables = `
module "cluster" {
  source = "../modules/cluster"

  name                         = "everything"
  availability_zones           = ["eu-west-1b", "eu-west-1c"]
  image_ids                    = { %s }
  vpc_cidr                     = "10.8.0.0/16"
  vpn_cidr                     = "10.108.0.0/16"
  ipv6                         = true
  dns_firewall                 = { allowed_domains = ["example.com"] }
  flow_logs                    = { traffic_type = "REJECT" }
  app_count                    = 3
  db_count                     = 3
  instance_types               = { db = "t3.medium" }
  instance_profiles            = { management = "own" }
  iam_path                     = "/platform/"
  permissions_boundary         = "arn:aws:iam::123456789012:policy/boundary"
  additional_policy_arns       = { app = ["arn:aws:iam::123456789012:policy/queue"] }
  exclusive_policies           = true
  ingress                      = { wireguard = { cidrs = ["192.0.2.0/24"] } }
  additional_security_group_ids = { app = [] }
  debug_access                 = "instance-connect-endpoint"
  key_name                     = "operators"
  root_volume_gib              = 32
  db_volume_gib                = 40
  kms_key_ids                  = { root_volumes = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  bucket_prefix                = "everything-"
  keep_data                    = false
  termination_protection       = true
  settings                     = { LOG_LEVEL = "debug" }
  credentials                  = { db = { POSTGRES_SUPERUSER_PASSWORD = "secret-of-the-test" } }
  credentials_version          = 2
  internal_credentials_version = 2
  ready_timeout                = "20m"
  on_ready_timeout             = "warn"
  tags                         = { team = "platform" }

  node_options = {
    app = { spot = true, cpu_credits = "standard", tags = { tier = "web" } }
    db = {
      monitoring             = true
      tenancy                = "dedicated"
      placement_group        = "databases"
      root_volume_iops       = 6000
      root_volume_throughput = 500
    }
  }
}
`

// TestTheModulePlansWithEveryVariableSet plans the module with a value for each of its
// variables, and checks that the plan has those of the cluster.
func TestTheModulePlansWithEveryVariableSet(t *testing.T) {
	var images []string
	for _, role := range cluster.Roles() {
		images = append(images, fmt.Sprintf("%q = %q", role, moto.RoleImageID(role, "1.0.0")))
	}
	config := fmt.Sprintf(allVariables, strings.Join(images, ", "))
	variables, err := os.ReadFile(filepath.Join(root, "modules", "cluster", "variables.tf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`(?m)^variable "(\w+)"`).FindAllStringSubmatch(string(variables), -1) {
		if !regexp.MustCompile(`(?m)^  ` + name[1] + ` +=`).MatchString(config) {
			t.Errorf("the configuration of this test does not set the variable %s of the module", name[1])
		}
	}
	w := moduleWorkspace(t, config)
	if out, err := w.Run(t.Context(), "plan", "-input=false", "-no-color", "-out=plan"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	planned := plannedCluster(t, w)
	for attribute, want := range map[string]any{"key_name": "operators", "root_volume_gib": 32.0, "termination_protection": true, "credentials_wo_version": 2.0,
		"internal_credentials_version": 2.0, "ready_timeout": "20m", "on_ready_timeout": "warn", "iam_path": "/platform/"} {
		if planned[attribute] != want {
			t.Errorf("%s is %v, want %v", attribute, planned[attribute], want)
		}
	}
	nodes := planned["nodes"].(map[string]any)
	for node, options := range map[string]map[string]any{
		"app1":    {"spot": true, "cpu_credits": "standard", "tags": map[string]any{"tier": "web"}, "tenancy": nil, "monitoring": nil},
		"db2":     {"monitoring": true, "tenancy": "dedicated", "placement_group": "databases", "root_volume_iops": 6000.0, "root_volume_throughput": 500.0, "spot": nil},
		"gateway": {"spot": nil, "tags": nil, "root_volume_iops": nil},
	} {
		for option, want := range options {
			if got := nodes[node].(map[string]any)[option]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s of node %s is %v, want %v", option, node, got, want)
			}
		}
	}
}

// TestTheModuleHasEveryAttributeOfTheCluster compares the module with the schema, so that
// a new attribute gets its variable.
func TestTheModuleHasEveryAttributeOfTheCluster(t *testing.T) {
	w := moduleWorkspace(t, "terraform {\n  required_providers {\n    xeroops = { source = \"xeroops/xeroops\" }\n  }\n}\n")
	out, err := w.Run(t.Context(), "providers", "schema", "-json")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	type attribute struct {
		Required, Optional bool
		NestedType         struct{ Attributes map[string]attribute } `json:"nested_type"`
	}
	var schemas struct {
		Providers map[string]struct {
			Resources map[string]struct {
				Block struct{ Attributes map[string]attribute }
			} `json:"resource_schemas"`
		} `json:"provider_schemas"`
	}
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &schemas); err != nil {
		t.Fatal(err)
	}
	module := ""
	for _, file := range []string{"main.tf", "variables.tf"} {
		content, err := os.ReadFile(filepath.Join(root, "modules", "cluster", file))
		if err != nil {
			t.Fatal(err)
		}
		module += string(content)
	}
	checked := 0
	for _, p := range schemas.Providers {
		attributes := p.Resources["xeroops_cluster"].Block.Attributes
		maps.Copy(attributes, attributes["nodes"].NestedType.Attributes)
		for _, name := range slices.Sorted(maps.Keys(attributes)) {
			a := attributes[name]
			if !a.Required && !a.Optional || name == "timeouts" {
				continue
			}
			checked++
			if !regexp.MustCompile(`(?m)^ +` + name + ` +=`).MatchString(module) {
				t.Errorf("the module does not set %s of xeroops_cluster: add a variable", name)
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d attributes were found", checked)
	}
}

// moduleWorkspace returns a workspace beside the examples with that configuration.
func moduleWorkspace(t *testing.T, config string) *workspace.Workspace {
	t.Helper()
	if _, err := tfcli.Find(); err != nil {
		t.Skip(err)
	}
	a, err := account.Start(t.Context(), fixups.Options{})
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	module, err := workspace.Module()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := workspace.Build(t.Context(), module, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	if err := tfcli.CopyExamples(filepath.Join(copied, "examples"), root); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(copied, "examples", "everything")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "main.tf"), config)
	w, err := workspace.New(t.Context(), workspace.Options{Dir: t.TempDir(), Module: copied, Example: "examples/everything", Binary: binary, Env: a.Environment()})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// plannedCluster returns the planned attributes of xeroops_cluster.
func plannedCluster(t *testing.T, w *workspace.Workspace) map[string]any {
	t.Helper()
	out, err := w.Run(t.Context(), "show", "-json", "plan")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var plan struct {
		Changes []struct {
			Mode, Type string
			Change     struct{ After map[string]any }
		} `json:"resource_changes"`
	}
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatal(err)
	}
	for _, c := range plan.Changes {
		if c.Mode == "managed" && c.Type == "xeroops_cluster" {
			return c.Change.After
		}
	}
	t.Fatal("the plan has no cluster")
	return nil
}
