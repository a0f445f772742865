package cluster_test

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	model "github.com/xeroops/xeroops/internal/cluster"
)

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
