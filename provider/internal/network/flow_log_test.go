package network_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

// logsBucket creates a bucket with or without the policy of the example.
func (a account) logsBucket(name string, delivery bool) {
	a.t.Helper()
	_, err := a.S3.CreateBucket(a.t.Context(), &s3.CreateBucketInput{Bucket: &name,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: acctest.Region}})
	if err == nil && delivery {
		_, err = a.S3.PutBucketPolicy(a.t.Context(), &s3.PutBucketPolicyInput{Bucket: &name, Policy: aws.String(fmt.Sprintf(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"delivery.logs.amazonaws.com"},"Action":["s3:PutObject","s3:GetBucketAcl"],"Resource":["arn:aws:s3:::%s","arn:aws:s3:::%[1]s/*"]}]}`, name))})
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.KeepBaseline()
}

func (a account) flowLogs(ctx context.Context) ([]ec2types.FlowLog, error) {
	out, err := ec2.NewFromConfig(a.Direct()).DescribeFlowLogs(ctx, &ec2.DescribeFlowLogsInput{})
	if err != nil {
		return nil, err
	}
	return out.FlowLogs, nil
}

// logsTo checks that there is one flow log for each destination, given as destination,
// traffic type and aggregation interval.
func (a account) logsTo(want ...string) resource.TestCheckFunc {
	return acctest.Check(func(ctx context.Context) error {
		out, err := a.EC2.DescribeFlowLogs(ctx, &ec2.DescribeFlowLogsInput{})
		if err != nil {
			return err
		}
		var got []string
		for _, log := range out.FlowLogs {
			got = append(got, fmt.Sprintf("%s %s %d", *log.LogDestination, log.TrafficType, *log.MaxAggregationInterval))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("flow logs are %q, want %q", got, want)
		}
		return nil
	})
}

const flowLog = "xeroops_flow_log.main"

// flowLogConfig returns a VPC with a flow log.
func flowLogConfig(attributes string) string {
	return vpcConfig("") + fmt.Sprintf(`
resource "xeroops_flow_log" "main" {
  name   = "production"
  vpc_id = %s.id
  %s
}
`, vpc, attributes)
}

func TestFlowLogIsCreatedImportedReplacedAndRemoved(t *testing.T) {
	a := newAccount(t)
	a.logsBucket("logs-123456789012", true)
	replace, update := expect(flowLog, plancheck.ResourceActionReplace), expect(flowLog, plancheck.ResourceActionUpdate)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{
			Config: flowLogConfig(`
				bucket = "logs-123456789012"
				prefix = "network/vpc"`),
			Check: resource.ComposeAggregateTestCheckFunc(
				a.logsTo("arn:aws:s3:::logs-123456789012/network/vpc/ ALL 600"),
				resource.TestMatchResourceAttr(flowLog, "id", matching(`^fl-`)),
				resource.TestMatchResourceAttr(flowLog, "arn", matching(`^arn:aws:ec2:eu-west-1:123456789012:vpc-flow-log/fl-`)),
				acctest.Do(flowLog, func(ctx context.Context, id string) error {
					return acctest.ImportsByIdentity(ctx, "xeroops_flow_log", id)
				}),
			),
		},
		{ResourceName: flowLog, ImportState: true, ImportStateVerify: true},
		{ // the same destination
			Config: flowLogConfig(`
				bucket = "logs-123456789012"
				prefix = "network/vpc"
				traffic_type = "REJECT"
				aggregation_seconds = 60`), ConfigPlanChecks: replace,
			Check: a.logsTo("arn:aws:s3:::logs-123456789012/network/vpc/ REJECT 60"),
		},
		{
			Config: flowLogConfig(`
				bucket = "logs-123456789012"
				traffic_type = "REJECT"`), ConfigPlanChecks: replace,
			Check: a.logsTo("arn:aws:s3:::logs-123456789012 REJECT 600"),
		},
		{
			Config: flowLogConfig(`
				tags = { team = "core" }
				bucket = "logs-123456789012"
				traffic_type = "REJECT"`), ConfigPlanChecks: update,
			Check: acctest.Check(func(ctx context.Context) error {
				logs, err := a.flowLogs(ctx)
				if err == nil && !strings.Contains(fmt.Sprint(tagsOf(logs[0].Tags)), "team:core") {
					err = fmt.Errorf("tags are %v", tagsOf(logs[0].Tags))
				}
				return err
			}),
		},
		{Config: vpcConfig(""), ConfigPlanChecks: expect(flowLog, plancheck.ResourceActionDestroy), Check: a.logsTo()},
		{Config: flowLogConfig(`bucket = "logs-123456789012"`)}, // destroyed with the VPC
	}})
}

func tagsOf(tags []ec2types.Tag) map[string]string {
	all := map[string]string{}
	for _, tag := range tags {
		all[*tag.Key] = *tag.Value
	}
	return all
}

// createFlowLog creates a flow log of the recorded VPC, as an interrupted apply does,
// or, without a name, as others do.
func (a account) createFlowLog(ctx context.Context, destination, name string) error {
	in := &ec2.CreateFlowLogsInput{ResourceIds: []string{a.ids[vpc]}, ResourceType: "VPC", TrafficType: "ALL",
		LogDestinationType: "s3", LogDestination: &destination}
	if name != "" {
		in.TagSpecifications = tagged(ec2types.ResourceTypeVpcFlowLog, name)
	}
	_, err := a.EC2.CreateFlowLogs(ctx, in)
	return err
}

func (a account) deleteFlowLog(ctx context.Context) error {
	logs, err := a.flowLogs(ctx)
	if err != nil {
		return err
	}
	_, err = a.EC2.DeleteFlowLogs(ctx, &ec2.DeleteFlowLogsInput{FlowLogIds: []string{*logs[0].FlowLogId}})
	return err
}

func TestFlowLogDriftIsReverted(t *testing.T) {
	a := newAccount(t)
	a.logsBucket("logs-123456789012", true)
	config := flowLogConfig(`bucket = "logs-123456789012"`)
	const one = "arn:aws:s3:::logs-123456789012 ALL 600"
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: config, Check: a.note(vpc, flowLog)},
		{
			PreConfig: a.behindTerraform(a.deleteFlowLog), Config: config,
			ConfigPlanChecks: expect(flowLog, plancheck.ResourceActionCreate), Check: resource.ComposeTestCheckFunc(a.logsTo(one), a.note(flowLog)),
		},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{a.ids[flowLog]}, Tags: []ec2types.Tag{{Key: aws.String("xeroops:name"), Value: aws.String("other")}}})
				return err
			}),
			Config: config, ConfigPlanChecks: expect(flowLog, plancheck.ResourceActionUpdate), Check: a.logsTo(one),
		},
	}})
}

func TestFlowLogLeftByAnInterruptedApplyIsAdopted(t *testing.T) {
	a := newAccount(t)
	a.logsBucket("logs-123456789012", true)
	const one = "arn:aws:s3:::logs-123456789012 ALL 600"
	left := func(destination string) func() {
		return a.behindTerraform(func(ctx context.Context) error { return a.createFlowLog(ctx, destination, "production") })
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: vpcConfig(""), Check: a.note(vpc)},
		{
			PreConfig: left("arn:aws:s3:::logs-123456789012"), Config: flowLogConfig(`bucket = "logs-123456789012"`),
			ConfigPlanChecks: expect(flowLog, plancheck.ResourceActionCreate), Check: a.logsTo(one),
		},
		{Config: vpcConfig(""), Check: a.logsTo()},
		{
			PreConfig: left("arn:aws:s3:::logs-123456789012/elsewhere/"), Config: flowLogConfig(`bucket = "logs-123456789012"`),
			ExpectError: matching(`"production" already exists: fl-\w+ \(it logs to arn:aws:s3:::logs-123456789012/elsewhere/\)`),
		},
		{PreConfig: a.behindTerraform(a.deleteFlowLog), Config: vpcConfig("")},
	}})
}

func TestFlowLogsOfOthersStay(t *testing.T) {
	a := newAccount(t)
	a.logsBucket("audit", true)
	others := a.behindTerraform(func(ctx context.Context) error { return a.createFlowLog(ctx, "arn:aws:s3:::audit", "") })
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: vpcConfig(""), Check: a.note(vpc)},
		{PreConfig: others, Config: flowLogConfig("bucket = \"audit\"\n prefix = \"vpc\""), Check: a.logsTo("arn:aws:s3:::audit ALL 600", "arn:aws:s3:::audit/vpc/ ALL 600")},
		{Config: vpcConfig(""), Check: a.logsTo("arn:aws:s3:::audit ALL 600")},
		{Config: flowLogConfig(`bucket = "audit"`), ExpectError: matching(`another flow log to this place, which this resource did not create; choose another prefix`)},
		{PreConfig: a.behindTerraform(a.deleteFlowLog), Config: vpcConfig("")},
	}})
}

func TestFlowLogErrorsSayWhatToDo(t *testing.T) {
	const refused = `does not let delivery\.logs\.amazonaws\.com read the bucket.s ACL and write arn:aws:s3:::closed/AWSLogs/123456789012/vpcflowlogs/eu-west-1/\*; set receive_flow_logs`
	for name, tc := range map[string]struct{ config, says string }{
		"no policy":    {`bucket = "closed"`, refused},
		"no bucket":    {`bucket = "missing"`, `there is no bucket missing; create it before`},
		"prefix":       {"bucket = \"closed\"\n prefix = \"/vpc/\"", `single slashes between, and none at the start or end`},
		"traffic type": {"bucket = \"closed\"\n traffic_type = \"all\"", `"ALL" "ACCEPT" "REJECT"`},
		"aggregation":  {"bucket = \"closed\"\n aggregation_seconds = 300", `value must be one of: \["60" "600"\]`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.logsBucket("closed", false)
			says := regexp.MustCompile(strings.ReplaceAll(strings.ReplaceAll(tc.says, `" "`, `"[\s│,]+"`), " ", `[\s│]+`))
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: flowLogConfig(tc.config), ExpectError: says}}})
		})
	}
}

// A policy that may not be read is left to AWS to check, which reports failures in a
// successful response.
func TestFlowLogThatAWSRefusesIsAnError(t *testing.T) {
	a := newAccount(t)
	if err := a.Front.Inject(fakeaws.Fault{Action: "GetBucketPolicy", Effect: fakeaws.Fail, Code: "AccessDenied", Message: "no", Status: 403, Times: -1}); err != nil {
		t.Fatal(err)
	}
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: flowLogConfig(`bucket = "elsewhere"`), ExpectError: matching(`create flow log to arn:aws:s3:::elsewhere: (.|\n)*LogDestination: elsewhere does not exist`)},
	}})
}

func TestLostResponsesCreateOneFlowLog(t *testing.T) {
	for _, effect := range []fakeaws.Effect{fakeaws.DropAfter, fakeaws.ServerError} {
		t.Run(string(effect), func(t *testing.T) {
			a := newAccount(t)
			a.logsBucket("logs-123456789012", true)
			for _, action := range []string{"CreateFlowLogs", "DescribeFlowLogs", "DeleteFlowLogs", "GetBucketPolicy"} {
				if err := a.Front.Inject(fakeaws.Fault{Action: action, Nth: 1, Effect: effect}); err != nil {
					t.Fatal(err)
				}
			}
			a.Test(resource.TestCase{Steps: []resource.TestStep{
				{Config: flowLogConfig(`bucket = "logs-123456789012"`), Check: a.logsTo("arn:aws:s3:::logs-123456789012 ALL 600")},
				{Config: flowLogConfig("bucket = \"logs-123456789012\"\n prefix = \"vpc\""), Check: a.logsTo("arn:aws:s3:::logs-123456789012/vpc/ ALL 600")},
			}})
		})
	}
}
