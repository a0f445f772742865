package provider_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	frameworkresource "github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/provider/internal/acctest"
	"github.com/xeroops/xeroops/provider/internal/provider"
)

// taggedKinds are all resource types with tags: a configuration of each, without
// name and tags; another one that is an update; and what each tags in AWS.
var taggedKinds = map[string]struct {
	config, update string
	objects        []string
}{
	"xeroops_vpc": {`cidr = "10.0.0.0/16"`, `timeouts = { read = "4m" }`, []string{"vpc", "igw", "vpce"}},
	"xeroops_flow_log": {`vpc_id = xeroops_vpc.main.id
  bucket = "flow-logs"`, `timeouts = { read = "4m" }`, []string{"fl"}},
	"xeroops_subnet": {`vpc_id = xeroops_vpc.main.id
  type = "public"
  cidr = "10.0.1.0/24"
  availability_zone = "eu-west-1a"`, `timeouts = { read = "4m" }`, []string{"subnet", "rtb"}},
	"xeroops_eip": {``, `timeouts = { read = "4m" }`, []string{"eipalloc"}},
	"xeroops_volume": {`availability_zone = "eu-west-1a"
  size_gib = 8
  final_snapshot = false`, `throughput_mibps = 130`, []string{"vol"}},
	"xeroops_bucket": {`force_destroy = true`, `lifecycle_rules = [{ expire_days = 3 }]`, []string{"bucket"}},
	"xeroops_cluster": {`vpc_id = xeroops_vpc.main.id
  vpn_cidr = "10.100.0.0/16"
  on_ready_timeout = "skip"
  buckets = { for use in ["uploads", "pgdump", "walg", "logs"] : use => xeroops_bucket.main.id }
  nodes = { app1 = { role = "app", instance_type = "t3.small", subnet_id = xeroops_subnet.main.id, address = "10.0.1.10",
    image_id = "` + moto.RoleImageID("app", "1.0.0") + `" } }`, `settings = { LOG_LEVEL = "debug" }`,
		[]string{"i", "vol", "eni", "sg", "role", "instance-profile"}},
}

// allKinds returns a configuration with a resource of each kind, all with these
// tags.
func allKinds(providerBlock, tags string, update bool) string {
	var b strings.Builder
	b.WriteString(providerBlock)
	for _, kind := range slices.Sorted(maps.Keys(taggedKinds)) {
		k, more := taggedKinds[kind], ""
		if update {
			more = k.update
		}
		fmt.Fprintf(&b, "\nresource %q \"main\" {\n  name = \"main-%s\"\n  tags = { %s }\n  %s\n  %s\n}\n", kind, strings.ReplaceAll(strings.TrimPrefix(kind, "xeroops_"), "_", "-"), tags, k.config, more)
	}
	return b.String()
}

// A kind that is not in taggedKinds would not be covered by the tests below.
func TestAllKindsWithTagsAreTested(t *testing.T) {
	p := provider.New("test")()
	for _, create := range p.Resources(t.Context()) {
		r := create()
		var name frameworkresource.MetadataResponse
		r.Metadata(t.Context(), frameworkresource.MetadataRequest{ProviderTypeName: "xeroops"}, &name)
		var schema frameworkresource.SchemaResponse
		r.Schema(t.Context(), frameworkresource.SchemaRequest{}, &schema)
		_, hasTags := schema.Schema.Attributes["tags"]
		if _, tested := taggedKinds[name.TypeName]; hasTags != tested {
			t.Errorf("%s: has tags %v, is in taggedKinds %v", name.TypeName, hasTags, tested)
		}
	}
}

type taggedAccount struct {
	*acctest.AWS
	t *testing.T
}

// newTaggedAccount returns an account with a bucket for flow logs, which is not the
// provider's.
func newTaggedAccount(t *testing.T) taggedAccount {
	a := taggedAccount{acctest.Setup(t), t}
	name := aws.String("flow-logs")
	_, err := a.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: acctest.Region}})
	a.must(err)
	_, err = a.S3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: name, Policy: aws.String(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"Service":"delivery.logs.amazonaws.com"},"Action":["s3:PutObject","s3:GetBucketAcl"],"Resource":["arn:aws:s3:::flow-logs","arn:aws:s3:::flow-logs/*"]}]}`)})
	a.must(err)
	a.KeepBaseline()
	return a
}

// object is something in AWS with tags. The kind of EC2's is what its id begins with.
type object struct {
	kind, id string
	tags     map[string]string
}

// objects returns everything that the provider tagged.
func (a taggedAccount) objects(ctx context.Context) []object {
	a.t.Helper()
	byID := map[string]object{}
	pages := ec2.NewDescribeTagsPaginator(a.EC2, &ec2.DescribeTagsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		a.must(err)
		for _, t := range page.Tags {
			o, ok := byID[*t.ResourceId]
			if !ok {
				kind, _, _ := strings.Cut(*t.ResourceId, "-")
				o = object{kind, *t.ResourceId, map[string]string{}}
			}
			o.tags[*t.Key] = aws.ToString(t.Value)
			byID[*t.ResourceId] = o
		}
	}
	found := slices.Concat(slices.Collect(maps.Values(byID)), a.iamObjects(ctx))
	buckets, err := a.S3.ListBuckets(ctx, &s3.ListBucketsInput{})
	a.must(err)
	for _, b := range buckets.Buckets {
		tagging, err := a.S3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: b.Name})
		if awswait.HasCode(err, "NoSuchTagSet") {
			continue
		}
		a.must(err)
		o := object{"bucket", *b.Name, map[string]string{}}
		for _, t := range tagging.TagSet {
			o.tags[*t.Key] = aws.ToString(t.Value)
		}
		found = append(found, o)
	}
	return slices.DeleteFunc(found, func(o object) bool { return o.tags["xeroops:managed-by"] == "" })
}

func (a taggedAccount) iamObjects(ctx context.Context) []object {
	flatten := func(kind, id string, tags []iamtypes.Tag) object {
		o := object{kind, id, map[string]string{}}
		for _, t := range tags {
			o.tags[*t.Key] = aws.ToString(t.Value)
		}
		return o
	}
	var found []object
	roles, err := a.IAM.ListRoles(ctx, &iam.ListRolesInput{PathPrefix: aws.String("/xeroops/")})
	a.must(err)
	for _, r := range roles.Roles {
		out, err := a.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: r.RoleName})
		a.must(err)
		found = append(found, flatten("role", *r.RoleName, out.Role.Tags))
	}
	profiles, err := a.IAM.ListInstanceProfiles(ctx, &iam.ListInstanceProfilesInput{PathPrefix: aws.String("/xeroops/")})
	a.must(err)
	for _, p := range profiles.InstanceProfiles {
		out, err := a.IAM.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: p.InstanceProfileName})
		a.must(err)
		found = append(found, flatten("instance-profile", *p.InstanceProfileName, out.InstanceProfile.Tags))
	}
	return found
}

// tagAll sets a tag on everything that the provider tagged, as AWS Backup, tag
// policies and cost tools do.
func (a taggedAccount) tagAll(ctx context.Context, key, value string) {
	a.t.Helper()
	for _, o := range a.objects(ctx) {
		var err error
		switch o.kind {
		case "bucket":
			o.tags[key] = value
			var all []s3types.Tag
			for k, v := range o.tags {
				all = append(all, s3types.Tag{Key: &k, Value: &v})
			}
			_, err = a.S3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &o.id, Tagging: &s3types.Tagging{TagSet: all}})
		case "role":
			_, err = a.IAM.TagRole(ctx, &iam.TagRoleInput{RoleName: &o.id, Tags: []iamtypes.Tag{{Key: &key, Value: &value}}})
		case "instance-profile":
			_, err = a.IAM.TagInstanceProfile(ctx, &iam.TagInstanceProfileInput{InstanceProfileName: &o.id, Tags: []iamtypes.Tag{{Key: &key, Value: &value}}})
		default:
			_, err = a.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{o.id}, Tags: []ec2types.Tag{{Key: &key, Value: &value}}})
		}
		a.must(err)
	}
}

func (a taggedAccount) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// have returns a check that all objects of all kinds have these tags, and none for
// which the value is "".
func (a taggedAccount) have(want map[string]string) resource.TestCheckFunc {
	return func(*terraform.State) error {
		kinds := map[string]bool{}
		for _, o := range a.objects(context.Background()) {
			kinds[o.kind] = true
			for key, value := range want {
				if o.tags[key] != value {
					return fmt.Errorf("%s %s has the tags %v, want %s = %q", o.kind, o.id, o.tags, key, value)
				}
			}
		}
		for name, k := range taggedKinds {
			for _, kind := range k.objects {
				if !kinds[kind] {
					return fmt.Errorf("there is no %s with tags of a %s", kind, name)
				}
			}
		}
		return nil
	}
}

func nothingToDo() resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
}

func updates() resource.ConfigPlanChecks {
	var checks []plancheck.PlanCheck
	for kind := range taggedKinds {
		checks = append(checks, plancheck.ExpectResourceAction(kind+".main", plancheck.ResourceActionUpdate))
	}
	return resource.ConfigPlanChecks{PreApply: checks}
}

func TestTagsOfOthersStayOnEveryKind(t *testing.T) {
	a := newTaggedAccount(t)
	one, two := allKinds("", `team = "one", old = "yes"`, false), allKinds("", `team = "two"`, false)
	other := allKinds("", `team = "two"`, true)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: one, Check: a.have(map[string]string{"team": "one", "old": "yes"})},
		{PreConfig: func() { a.tagAll(t.Context(), "backup", "daily") }, Config: one, ConfigPlanChecks: nothingToDo()},
		{Config: two, ConfigPlanChecks: updates(), Check: a.have(map[string]string{"team": "two", "old": "", "backup": "daily"})},
		{Config: other, ConfigPlanChecks: updates(), Check: a.have(map[string]string{"team": "two", "old": "", "backup": "daily"})},
		{Config: other, ConfigPlanChecks: nothingToDo()},
		// The key that was removed is not the provider's any more.
		{PreConfig: func() { a.tagAll(t.Context(), "old", "theirs") }, Config: two, ConfigPlanChecks: updates(),
			Check: a.have(map[string]string{"team": "two", "old": "theirs", "backup": "daily"})},
		{Config: two, ConfigPlanChecks: nothingToDo()},
	}})
}

func TestIgnoredTagsAreNeitherReadNorWritten(t *testing.T) {
	a := newTaggedAccount(t)
	ignore := `provider "xeroops" {
  default_tags = { team = "one" }
  ignore_tags  = { keys = ["cost"], key_prefixes = ["auto:"] }
}`
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: allKinds(`provider "xeroops" { default_tags = { team = "one" } }`, `cost = "ours"`, false), Check: a.have(map[string]string{"team": "one", "cost": "ours"})},
		{PreConfig: func() { a.tagAll(t.Context(), "cost", "theirs"); a.tagAll(t.Context(), "auto:off", "18:00") },
			Config: allKinds(ignore, `cost = "ours", "auto:off" = "20:00"`, false), Check: a.have(map[string]string{"cost": "theirs", "auto:off": "18:00"})},
		{Config: allKinds(ignore, `cost = "ours", "auto:off" = "20:00"`, false), ConfigPlanChecks: nothingToDo()},
		{Config: allKinds(ignore, ``, true), ConfigPlanChecks: updates(), Check: a.have(map[string]string{"team": "one", "cost": "theirs", "auto:off": "18:00"})},
		{Config: allKinds(ignore, ``, true), ConfigPlanChecks: nothingToDo()},
	}})
}

// A value that is null, as of an optional variable, is no tag.
func TestNullTagsAreAbsent(t *testing.T) {
	a := newTaggedAccount(t)
	config := allKinds(`provider "xeroops" { default_tags = { owner = null, project = "x" } }`, `team = null, empty = ""`, false)
	absent := func(s *terraform.State) error {
		for _, o := range a.objects(context.Background()) {
			for _, key := range []string{"owner", "team"} {
				if value, exists := o.tags[key]; exists {
					return fmt.Errorf("%s %s has tag %s = %q", o.kind, o.id, key, value)
				}
			}
			if value, exists := o.tags["empty"]; !exists || value != "" {
				return fmt.Errorf("%s %s has the tags %v, want an empty one", o.kind, o.id, o.tags)
			}
		}
		return a.have(map[string]string{"project": "x"})(s)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config, Check: absent},
		{Config: config, ConfigPlanChecks: nothingToDo()},
		{PreConfig: func() { a.tagAll(t.Context(), "team", "theirs") }, Config: config, ConfigPlanChecks: nothingToDo(), Check: a.have(map[string]string{"team": "theirs"})},
	}})
}

func TestTagsThatAWSRefusesFailAtPlan(t *testing.T) {
	many := `provider "xeroops" { default_tags = { for i in range(30) : "d${i}" => "x" } }`
	cluster := func(tags string) string { return allKinds("", tags, false) }
	eip := func(block, tags string) string {
		return block + "\nresource \"xeroops_eip\" \"e\" {\n  name = \"e\"\n  tags = " + tags + "\n}"
	}
	cases := map[string]struct{ config, error string }{
		"a character that IAM and S3 refuse": {cluster(`team = "a,b"`), `The value of tag "team" in tags has the character ','. (IAM|S3) allows only letters`},
		"keys of another case":               {cluster(`name = "a", Name = "b"`), `tags has tag "Name" and tags has tag "name"`},
		"too many with the default tags":     {eip(many, `{ for i in range(30) : "t${i}" => "x" }`), `60 different keys, and the provider sets 4 tags of its own. AWS allows 50 tags on a resource; remove 14`},
		"a reserved prefix":                  {eip("", `{ "AWS:x" = "y" }`), `must not start with aws:`},
		"a value that is too long":           {eip("", `{ a = join("", [for i in range(257) : "ü"]) }`), `at most 256`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := acctest.Setup(t)
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: c.config, PlanOnly: true, ExpectError: acctest.Matching(c.error)}}})
		})
	}
}

// EC2 allows any character, and IAM a name besides Name.
func TestUnusualTagsRoundTrip(t *testing.T) {
	a := newTaggedAccount(t)
	config := allKinds("", `name = "x", Größe = join("", [for i in range(200) : "ü"])`, false) + `
resource "xeroops_eip" "e" {
  name = "e"
  tags = { "q\"'$%\\n" = "l1\nl2 \"$${x}\" %%{y} \\ 漢字 🎉" }
}`
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config},
		{Config: config, ConfigPlanChecks: nothingToDo()},
	}})
}
