package iamrole

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/clusterspec/spectest"
)

func reference() *Roles {
	return New(&awsclient.Client{Region: "eu-west-1"}, nil, spectest.Reference())
}

func TestARoleIsOwnedByItsPathAndTag(t *testing.T) {
	r := reference()
	other := []iamtypes.Tag{{Key: aws.String("xeroops:cluster"), Value: aws.String("staging")}}
	cases := map[string]struct {
		path string
		tags []iamtypes.Tag
		want bool
	}{
		"created by this cluster": {r.path(), newTags(r.tags("x")), true},
		"another path":            {"/", newTags(r.tags("x")), false},
		"no tags":                 {r.path(), nil, false},
		"another cluster's tag":   {r.path(), other, false},
	}
	for name, c := range cases {
		if got := r.owns(&c.path, c.tags); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAnOwnProfileIsUsedAndItsRoleNotManaged(t *testing.T) {
	r := reference()
	r.spec.InstanceProfiles = map[model.Role]string{model.RoleApp: "own"}
	if name := r.ProfileName(model.RoleApp); name != "own" {
		t.Errorf("profile is %s, want own", name)
	}
	if name := r.ProfileName(model.RoleDB); name != "xeroops-eu-west-1-production-db" {
		t.Errorf("profile is %s", name)
	}
	if slices.Contains(r.spec.ManagedRoles(), model.RoleApp) {
		t.Error("the role of an own profile is managed")
	}
}

func TestDriftNamesTheRoleAndWhatDiffers(t *testing.T) {
	const name = "xeroops-eu-west-1-production-app"
	wanted := role{policy: `{"Statement":[]}`, trust: trustPolicy(awsAccount{partition: "aws"})}
	same := role{policy: `{ "Statement": [] }`, trust: wanted.trust}
	cases := map[string]struct {
		change func(*Roles, *role)
		want   string
	}{
		"nothing":              {func(*Roles, *role) {}, ""},
		"another policy":       {func(_ *Roles, a *role) { a.policy = `{"Statement":[{"Effect":"Deny"}]}` }, "policy of IAM role " + name + " was changed"},
		"another trust policy": {func(_ *Roles, a *role) { a.trust = `{}` }, "trust policy of IAM role " + name + " was changed"},
		"an inline policy":     {func(r *Roles, a *role) { r.spec.IAM.ExclusivePolicies = true; a.inline = []string{"mine"} }, "additional policies: mine"},
		"a managed policy":     {func(r *Roles, a *role) { r.spec.IAM.ExclusivePolicies = true; a.attached = []string{"arn:p"} }, "additional policies: arn:p"},
		"policies of others":   {func(_ *Roles, a *role) { a.inline, a.attached = []string{"mine"}, []string{"arn:p"} }, ""},
		"another boundary":     {func(_ *Roles, a *role) { a.boundary = "arn:b" }, "permissions boundary of IAM role " + name + " was changed"},
		"an empty profile":     {func(r *Roles, _ *role) { r.profiles = nil }, "instance profile " + name + " does not contain its role"},
	}
	for what, c := range cases {
		r, actual := reference(), same
		r.profiles[model.RoleApp] = profile{hasRole: true}
		c.change(r, &actual)
		r.roles[model.RoleApp] = actual
		found := strings.Join(r.drift(model.RoleApp, wanted), "\n")
		if (found == "") != (c.want == "") || !strings.Contains(found, c.want) {
			t.Errorf("%s: drift is %q, want %q", what, found, c.want)
		}
	}
	if found := reference().drift(model.RoleApp, wanted); len(found) != 2 || found[1] != "IAM role "+name+" does not exist" {
		t.Errorf("drift of a deleted role is %q", found)
	}
}
