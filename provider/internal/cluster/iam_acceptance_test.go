package cluster_test

import (
	"regexp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
)

const appRole = "xeroops-eu-west-1-production-app"

func TestAnIAMRoleOfSomebodyElseIsNeitherTakenNorDeleted(t *testing.T) {
	a := newAccount(t)
	_, err := a.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String(appRole), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	a.must(err)
	a.KeepBaseline()
	a.Test(resource.TestCase{
		Steps: []resource.TestStep{{Config: a.config(), ExpectError: regexp.MustCompile(`(?s)IAM\s+role\s+` + appRole + `\s+that\s+does\s+not\s+belong\s+to\s+this\s+cluster`)}},
		CheckDestroy: func(state *terraform.State) error {
			policies, err := a.IAM.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: aws.String(appRole)})
			a.must(err)
			if len(policies.PolicyNames) > 0 {
				t.Errorf("it got the policies %v", policies.PolicyNames)
			}
			return a.CheckDestroy(state)
		},
	})
}
