package cluster_test

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

const configuredSecret = "configured-secret-hunter2-do-not-log"

// The provider runs as a separate process at log level TRACE. The test searches
// everything that the provider, Terraform and the instances store or log.
func TestNothingSecretReachesStatePlanUserDataOrLog(t *testing.T) {
	a := newAccount(t)
	a.extra = `credentials_wo = { app = { API_KEY = var.api_key } }
  credentials_wo_version = 1`
	dir := t.TempDir()
	logFile := filepath.Join(dir, "log")
	t.Setenv("TF_LOG", "TRACE")
	t.Setenv("TF_LOG_PATH", logFile)
	t.Setenv("TF_VAR_api_key", configuredSecret)
	w := a.workspace(dir)

	terraform := func(args ...string) string {
		t.Helper()
		out, err := w.Run(t.Context(), args...)
		if err != nil {
			t.Fatalf("terraform %v: %v\n%s", args, err, out)
		}
		return out
	}
	left := map[string]string{
		"output of plan":  terraform("plan", "-no-color", "-out=plan"),
		"plan":            terraform("show", "-json", "plan"),
		"output of apply": terraform("apply", "-no-color", "plan"),
		"state":           terraform("state", "pull"),
		"user-data":       a.allUserData(),
	}
	planFile, err := os.ReadFile(filepath.Join(w.Root(), "plan"))
	a.must(err)
	log, err := os.ReadFile(logFile)
	a.must(err)
	left["plan file"], left["log"] = string(planFile), string(log)
	if !strings.Contains(left["log"], "PutObject") {
		t.Error("the log does not show the calls, so the search proves nothing")
	}
	for what, text := range left {
		for name, secret := range a.secrets() {
			if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Errorf("%s holds the secret %s", what, name)
			}
		}
	}
	terraform("destroy", "-auto-approve", "-no-color")
}

// workspace returns a Terraform workspace with the account's configuration.
func (a *account) workspace(dir string) *workspace.Workspace {
	a.t.Helper()
	module, err := workspace.Module()
	a.must(err)
	binary, err := workspace.Build(a.t.Context(), module, dir)
	a.must(err)
	example := filepath.Join(dir, "source", "examples", "cluster")
	a.must(os.MkdirAll(example, 0o755))
	config := "terraform {\n  required_providers {\n    xeroops = { source = \"xeroops/xeroops\" }\n  }\n}\nvariable \"api_key\" {\n  type      = string\n  ephemeral = true\n}\n" + a.config()
	a.must(os.WriteFile(filepath.Join(example, "main.tf"), []byte(config), 0o600))
	w, err := workspace.New(context.Background(), workspace.Options{Dir: filepath.Join(dir, "run"), Module: filepath.Join(dir, "source"),
		Example: "examples/cluster", Binary: binary})
	a.must(err)
	return w
}

// secrets returns all secrets of the cluster, read from S3.
func (a *account) secrets() map[string]string {
	all := map[string]string{"credentials_wo": configuredSecret}
	for _, role := range model.Roles() {
		vars, err := envfile.Parse(a.object(layout.Credentials(role)))
		a.must(err)
		for name, value := range vars {
			all[string(role)+" "+name] = value
		}
	}
	keys := []string{layout.Authority("nodes"), layout.Authority("etcd"), layout.EtcdCertificate(model.RoleManagement, "management")}
	for name, n := range a.nodes {
		keys = append(keys, layout.Certificate(model.Role(n.role), name))
	}
	for _, key := range keys {
		_, private, found := strings.Cut(a.object(key), "-----BEGIN PRIVATE KEY-----\n")
		if !found {
			a.t.Errorf("%s has no private key", key)
			continue
		}
		all[key], _, _ = strings.Cut(private, "\n") // its first line
	}
	if len(all) < len(model.InternalCredentials())+len(keys) {
		a.t.Errorf("only %d secrets are in S3", len(all))
	}
	return all
}

func (a *account) allUserData() string {
	var all strings.Builder
	for _, id := range a.ids() {
		out, err := a.EC2.DescribeInstanceAttribute(a.t.Context(), &ec2.DescribeInstanceAttributeInput{InstanceId: &id, Attribute: ec2types.InstanceAttributeNameUserData})
		a.must(err)
		text, err := base64.StdEncoding.DecodeString(*out.UserData.Value)
		a.must(err)
		all.Write(text)
	}
	return all.String()
}
