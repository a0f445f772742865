package cluster_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/internal/pki"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

// credentialsOf reads a role's credentials from S3.
func (a *account) credentialsOf(role model.Role) map[string]string {
	vars, err := envfile.Parse(a.object(layout.Credentials(role)))
	a.must(err)
	return vars
}

func TestSecretsAreKeptUntilAVersionIsRaised(t *testing.T) {
	a := newAccount(t)
	step := func(given string, version, internal int) string {
		a.extra = fmt.Sprintf("credentials_wo = { app = { API_KEY = %q, ABSENT = null }, db = null }\n  credentials_wo_version = %d\n  internal_credentials_version = %d", given, version, internal)
		return a.config()
	}
	var first map[string]string
	has := func(apiKey string, sameInternal bool) resource.TestCheckFunc {
		return check(func() error {
			app, db := a.credentialsOf(model.RoleApp), a.credentialsOf(model.RoleDB)
			if first == nil {
				first = app
			}
			_, absent := app["ABSENT"]
			switch {
			case absent:
				return errors.New("a secret that is null was set")
			case app["API_KEY"] != apiKey:
				return fmt.Errorf("API_KEY is %q, want %q", app["API_KEY"], apiKey)
			case (app["REDIS_APP_PASSWORD"] == first["REDIS_APP_PASSWORD"]) != sameInternal:
				return fmt.Errorf("internal secrets kept: %v, want %v", !sameInternal, sameInternal)
			case app["POSTGRES_APP_PASSWORD"] != db["POSTGRES_APP_PASSWORD"]:
				return fmt.Errorf("app and database disagree on the application's password")
			}
			return nil
		})
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: step("one", 1, 1), Check: has("one", true)},
		{Config: step("two", 1, 1), ConfigPlanChecks: nothingToDo(), Check: has("one", true)}, // write-only: only the version shows a change
		{Config: step("two", 2, 1), ConfigPlanChecks: inPlace(), Check: has("two", true)},
		{Config: step("two", 2, 2), ConfigPlanChecks: inPlace(), Check: has("two", false)},
		{Config: step("two", 2, 2), ConfigPlanChecks: nothingToDo()},
	}})
}

func TestAnOwnProfileIsUsedAndNoRoleCreated(t *testing.T) {
	a := newAccount(t)
	a.ownProfile("own-app")
	a.KeepBaseline()
	a.extra = `instance_profiles = { app = "own-app" }`
	a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: a.config(), Check: check(func() error {
		if arn := *a.live()["app1"].IamInstanceProfile.Arn; !strings.HasSuffix(arn, "/own-app") {
			return fmt.Errorf("app1 runs with %s", arn)
		}
		if _, err := a.IAM.GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String("xeroops-eu-west-1-production-app")}); err == nil {
			return fmt.Errorf("an IAM role was created")
		}
		return nil
	})}}})
}

func TestARaisedVersionRemovesASecretFromS3(t *testing.T) {
	a := newAccount(t)
	step := func(given string, version int) string {
		a.extra = fmt.Sprintf("credentials_wo = { app = { %s } }\n  credentials_wo_version = %d", given, version)
		return a.config()
	}
	var first map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: step(`API_KEY = "one", OTHER = "two"`, 1), Check: check(func() error { first = a.credentialsOf(model.RoleApp); return nil })},
		{Config: step(`OTHER = "two"`, 2), ConfigPlanChecks: inPlace(), Check: check(func() error {
			app := a.credentialsOf(model.RoleApp)
			if app["API_KEY"] != "" || app["OTHER"] != "two" || app["REDIS_APP_PASSWORD"] != first["REDIS_APP_PASSWORD"] {
				return fmt.Errorf("API_KEY is %q, OTHER %q, internal ones kept: %v", app["API_KEY"], app["OTHER"], app["REDIS_APP_PASSWORD"] == first["REDIS_APP_PASSWORD"])
			}
			return nil
		})},
	}})
}

// The objects are those of a version of the provider that did not have these secrets.
func TestASecretThatAnUpdateOfTheProviderAddsReachesAnExistingCluster(t *testing.T) {
	a := newAccount(t)
	var before map[string]string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config(), Check: check(func() error { before = a.credentialsOf(model.RoleDB); return nil })},
		{Config: "removed {\n  from = xeroops_cluster.main\n  lifecycle {\n    destroy = false\n  }\n}"},
		{PreConfig: func() {
			older := maps.Clone(before)
			delete(older, model.ApplicationsPostgresKey)
			text, err := envfile.Format(older)
			a.must(err)
			_, err = a.S3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &a.uploads, Key: aws.String(layout.Credentials(model.RoleDB)), Body: strings.NewReader(text)})
			a.must(err)
		}, Config: a.config(), ResourceName: resourceName, ImportState: true, ImportStateId: "production", ImportStatePersist: true, ImportStateVerifyIdentifierAttribute: "name"},
		{Config: a.config(), ConfigPlanChecks: inPlace(), Check: check(func() error {
			if after := a.credentialsOf(model.RoleDB); !maps.Equal(before, after) { // it is one that the app nodes have
				return fmt.Errorf("the secrets of db were %d and are %d others", len(before), len(after))
			}
			return nil
		})},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}})
}

// operatorsPassword reads the only object with a secret that an operator may read.
func (a *account) operatorsPassword(user string) error {
	vars, err := envfile.Parse(a.object(layout.OperatorCredentials(user)))
	if err != nil {
		return err
	}
	password := vars[model.OperatorPasswords[user]]
	if len(vars) != 1 || password == "" || password != a.credentialsOf(model.RoleManagement)[model.OperatorPasswords[user]] {
		return fmt.Errorf("the credentials of %s have %d variables, want management's password and nothing else", user, len(vars))
	}
	return nil
}

func TestOperatorCredentialsFollowThoseOfManagement(t *testing.T) {
	for user := range model.OperatorPasswords {
		t.Run(user, func(t *testing.T) { testOperatorCredentials(t, user) })
	}
}

func testOperatorCredentials(t *testing.T, user string) {
	a := newAccount(t)
	same := check(func() error { return a.operatorsPassword(user) })
	config := func(version int) string {
		a.extra = fmt.Sprintf("internal_credentials_version = %d\n  credentials_wo = { app = { API_KEY = %q } }", version, time.Now())
		return a.config()
	}
	var first, applied string
	key := layout.OperatorCredentials(user)
	steps := []resource.TestStep{{Config: config(1), Check: check(func() error { first, applied = a.object(key), a.object(layout.Credentials(model.RoleApp)); return nil })}, {Config: config(1), Check: same}}
	for name, change := range map[string]func(){
		key + " was changed": func() { a.putObject(key, "not an env file") },
		key + " was deleted": func() { a.deleteObject(key) },
	} {
		steps = append(steps, acctest.Repairs(resourceName, config(1), name, change)...)
		steps = append(steps, resource.TestStep{Config: config(1), ConfigPlanChecks: nothingToDo(), Check: same})
	}
	steps = append(steps, resource.TestStep{Config: config(1), Check: check(func() error {
		if a.object(layout.Credentials(model.RoleApp)) != applied {
			return fmt.Errorf("other credentials were written without a new version")
		}
		return nil
	})})
	steps = append(steps, resource.TestStep{Config: config(2), Check: resource.ComposeTestCheckFunc(same, check(func() error {
		if a.object(key) == first {
			return fmt.Errorf("the credentials of operators were not rotated")
		}
		return nil
	}))})
	a.Test(resource.TestCase{Steps: steps})
}

func TestCertificatesAreRepairedAndTheAuthorityIsKept(t *testing.T) {
	a := newAccount(t)
	certificate, authority, bundle := layout.Certificate(model.RoleDB, "db1"), layout.Authority("etcd"), layout.AuthorityBundle("etcd")
	var first map[string]string
	read := func() map[string]string {
		return map[string]string{certificate: a.object(certificate), authority: a.object(authority), bundle: a.object(bundle)}
	}
	steps := []resource.TestStep{
		{Config: a.config(), Check: check(func() error { first = read(); return nil })},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}
	for drift, change := range map[string]func(){
		certificate + " was deleted": func() { a.deleteObject(certificate) },
		certificate + " was changed": func() { a.putObject(certificate, "not a certificate") },
		bundle + " was changed":      func() { a.putObject(bundle, "not a certificate") },
	} {
		steps = append(steps, acctest.Repairs(resourceName, a.config(), drift, change)...)
		steps = append(steps, resource.TestStep{Config: a.config(), ConfigPlanChecks: nothingToDo(), Check: check(func() error {
			now := read()
			if now[authority] != first[authority] || now[bundle] != first[bundle] {
				return fmt.Errorf("after %q, the authority is another one", drift)
			}
			id, err := pki.ParseCertificate(certificate, []byte(now[certificate]))
			if err == nil && id.Leaf.Subject.CommonName != "db1" {
				err = fmt.Errorf("after %q, the certificate is that of %s", drift, id.Leaf.Subject)
			}
			return err
		})})
	}
	a.Test(resource.TestCase{Steps: steps})
}

// A cluster of a release without certificates has none of the objects.
func TestAnExistingClusterGetsItsCertificatesAtTheNextApply(t *testing.T) {
	a := newAccount(t)
	var keys []string
	steps := []resource.TestStep{{Config: a.config()}, {Config: "removed {\n  from = xeroops_cluster.main\n  lifecycle {\n    destroy = false\n  }\n}"},
		{PreConfig: func() {
			out, err := a.S3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &a.uploads})
			a.must(err)
			for _, object := range out.Contents {
				if strings.HasSuffix(*object.Key, ".pem") {
					keys = append(keys, *object.Key)
					a.deleteObject(*object.Key)
				}
			}
		}, Config: a.config(), ResourceName: resourceName, ImportState: true, ImportStateId: "production", ImportStatePersist: true, ImportStateVerifyIdentifierAttribute: "name"},
		{Config: a.config(), ConfigPlanChecks: inPlace(), Check: check(func() error {
			if len(keys) != 14 {
				return fmt.Errorf("there were %d certificates: %v", len(keys), keys)
			}
			for _, key := range keys {
				if a.object(key) == "" {
					return fmt.Errorf("%s is missing", key)
				}
			}
			return nil
		})},
		{Config: a.config(), ConfigPlanChecks: nothingToDo()},
	}
	a.Test(resource.TestCase{Steps: steps})
}
