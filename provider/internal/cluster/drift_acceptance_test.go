package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

const somePolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`

func TestWhatOthersGiveARoleIsShownAndTakenAway(t *testing.T) {
	a := newAccount(t)
	role := aws.String(appRole)
	made, err := a.IAM.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("wide"), PolicyDocument: aws.String(somePolicy)})
	a.must(err)
	a.KeepBaseline()
	a.extra = "exclusive_policies = true"
	attach := func() {
		_, err := a.IAM.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: made.Policy.Arn})
		a.must(err)
	}
	steps := []resource.TestStep{{Config: a.config()}}
	steps = append(steps, acctest.Repairs(resourceName, a.config(), "trust policy of IAM role "+appRole, func() {
		_, err := a.IAM.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: role,
			PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::210987654321:root"},"Action":"sts:AssumeRole"}]}`)})
		a.must(err)
	})...)
	steps = append(steps, acctest.Repairs(resourceName, a.config(), "additional policies: "+*made.Policy.Arn, attach)...)
	steps = append(steps, acctest.Repairs(resourceName, a.config(), "additional policies: mine", func() {
		_, err := a.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: role, PolicyName: aws.String("mine"), PolicyDocument: aws.String(somePolicy)})
		a.must(err)
	})...)
	steps = append(steps, resource.TestStep{Config: a.config(), ConfigPlanChecks: nothingToDo(), ExpectNonEmptyPlan: true, Check: check(func() error {
		out, err := a.IAM.GetRole(t.Context(), &iam.GetRoleInput{RoleName: role})
		if err == nil && strings.Contains(*out.Role.AssumeRolePolicyDocument, "210987654321") {
			err = fmt.Errorf("another account may still take the role")
		}
		attach() // an attached policy does not prevent destroy
		return err
	})})
	a.Test(resource.TestCase{Steps: steps})
}

func TestAProtectionThatIsLiftedByHandIsShownAndPutBack(t *testing.T) {
	a := newAccount(t)
	unprotected := a.config()
	a.extra = "termination_protection = true"
	protected := func() (all []string) {
		for name, id := range a.ids() {
			out, err := a.EC2.DescribeInstanceAttribute(t.Context(), &ec2.DescribeInstanceAttributeInput{InstanceId: &id, Attribute: ec2types.InstanceAttributeNameDisableApiTermination})
			a.must(err)
			if aws.ToBool(out.DisableApiTermination.Value) {
				all = append(all, name)
			}
		}
		return all
	}
	steps := []resource.TestStep{{Config: a.config()}}
	steps = append(steps, acctest.Repairs(resourceName, a.config(), "node db1 is not protected", func() {
		_, err := a.EC2.ModifyInstanceAttribute(t.Context(), &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(a.ids()["db1"]), DisableApiTermination: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}})
		a.must(err)
	})...)
	a.Test(resource.TestCase{Steps: append(steps,
		resource.TestStep{Config: a.config(), ConfigPlanChecks: nothingToDo(), Check: check(func() error {
			if all := protected(); len(all) != len(a.nodes) {
				return fmt.Errorf("only %v are protected", all)
			}
			return nil
		})},
		resource.TestStep{Config: unprotected},
		resource.TestStep{PreConfig: a.Front.ClearCalls, Config: unprotected, ConfigPlanChecks: nothingToDo(), Check: check(func() error {
			for _, c := range a.Front.Calls() {
				if c.Action == "DescribeInstanceAttribute" {
					return fmt.Errorf("a cluster without protection costs a call for each node")
				}
			}
			return nil
		})},
	)})
}

func TestCredentialsChangedOrDeletedByHandComeBackFromTheBucketsVersions(t *testing.T) {
	a := newAccount(t)
	_, err := a.S3.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &a.uploads,
		VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}})
	a.must(err)
	key := layout.Credentials(model.RoleDB)
	var written string
	same := func() error {
		if is := a.object(key); is != written {
			return fmt.Errorf("the credentials are not what was written: %d bytes, want %d", len(is), len(written))
		}
		return nil
	}
	steps := []resource.TestStep{{Config: a.config(), Check: check(func() error { written = a.object(key); return nil })}}
	for name, change := range map[string]func(){
		key + " was changed": func() { a.putObject(key, "POSTGRES_SUPERUSER_PASSWORD=\"mine\"\n") },
		key + " was deleted": func() { a.deleteObject(key) },
	} {
		steps = append(steps, acctest.Repairs(resourceName, a.config(), name, change)...)
		steps = append(steps, resource.TestStep{Config: a.config(), ConfigPlanChecks: nothingToDo(), Check: check(same)})
	}
	a.Test(resource.TestCase{Steps: steps})
}

func TestCredentialsChangedByHandInABucketWithoutVersionsGetAgainWhatWasGiven(t *testing.T) {
	a := newAccount(t)
	a.extra = `credentials_wo = { app = { API_KEY = "given" } }`
	key := layout.Credentials(model.RoleApp)
	steps := []resource.TestStep{{Config: a.config()}}
	steps = append(steps, acctest.Repairs(resourceName, a.config(), key+" was changed", func() {
		a.putObject(key, strings.ReplaceAll(a.object(key), "given", "changed"))
	})...)
	steps = append(steps, resource.TestStep{Config: a.config(), ConfigPlanChecks: nothingToDo(), Check: check(func() error {
		if is := a.credentialsOf(model.RoleApp)["API_KEY"]; is != "given" {
			return fmt.Errorf("API_KEY is %q", is)
		}
		return nil
	})})
	a.Test(resource.TestCase{Steps: steps})
}

func TestChangedTagsReachRolesProfilesAndRootVolumes(t *testing.T) {
	a := newAccount(t)
	config := func(tags string) string { a.extra = "tags = { " + tags + " }"; return a.config() }
	tagged := func(team, old string) resource.TestCheckFunc {
		return check(func() error {
			all := a.tagsOfWhatExists()
			if want := 2*len(model.Roles()) + len(a.nodes); len(all) != want {
				return fmt.Errorf("%d roles, profiles and root volumes, want %d", len(all), want)
			}
			for what, tags := range all {
				if tags["team"] != team || tags["old"] != old || tags["xeroops:cluster"] != "production" {
					return fmt.Errorf("%s has the tags %v", what, tags)
				}
			}
			return nil
		})
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config(`team = "one", old = "yes"`), Check: tagged("one", "yes")},
		{Config: config(`team = "two"`), ConfigPlanChecks: inPlace(), Check: tagged("two", "")},
		{PreConfig: a.Front.ClearCalls, Config: config(`team = "two"`), ConfigPlanChecks: nothingToDo(), Check: check(func() error {
			for _, c := range a.Front.Calls() {
				if c.Action == "GetRole" || c.Action == "GetInstanceProfile" || c.Action == "DescribeVolumes" {
					return fmt.Errorf("a plan with nothing to do calls %s", c.Action)
				}
			}
			return nil
		})},
	}})
}

// tagsOfWhatExists returns the tags of the cluster's IAM roles, instance
// profiles and root volumes.
func (a *account) tagsOfWhatExists() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, role := range model.Roles() {
		name := "xeroops-eu-west-1-production-" + string(role)
		r, err := a.IAM.GetRole(a.t.Context(), &iam.GetRoleInput{RoleName: &name})
		a.must(err)
		p, err := a.IAM.GetInstanceProfile(a.t.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: &name})
		a.must(err)
		all["role "+name], all["profile "+name] = map[string]string{}, map[string]string{}
		for _, t := range r.Role.Tags {
			all["role "+name][*t.Key] = *t.Value
		}
		for _, t := range p.InstanceProfile.Tags {
			all["profile "+name][*t.Key] = *t.Value
		}
	}
	volumes, err := a.EC2.DescribeVolumes(a.t.Context(), &ec2.DescribeVolumesInput{})
	a.must(err)
	for _, v := range volumes.Volumes {
		if slices.Contains(a.volumes, *v.VolumeId) {
			continue
		}
		all[*v.VolumeId] = map[string]string{}
		for _, t := range v.Tags {
			all[*v.VolumeId][*t.Key] = *t.Value
		}
	}
	return all
}
