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
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"delivery.logs.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::%s/*"}]}`, name))})
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

// logsTo checks that there is one flow log of the recorded VPC for each destination, given
// as destination, traffic type and aggregation interval.
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

func TestFlowLogIsCreatedImportedReplacedAndRemoved(t *testing.T) {
	a := newAccount(t)
	a.logsBucket("logs-123456789012", true)
	update := expect(vpc, plancheck.ResourceActionUpdate)
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: vpcConfig(""), Check: a.logsTo()},
		{
			Config: vpcConfig(`flow_logs = { bucket = "logs-123456789012", prefix = "network/vpc" }`), ConfigPlanChecks: update,
			Check: a.logsTo("arn:aws:s3:::logs-123456789012/network/vpc/ ALL 600"),
		},
		{ResourceName: vpc, ImportState: true, ImportStateVerify: true},
		{ // the same destination
			Config: vpcConfig(`flow_logs = { bucket = "logs-123456789012", prefix = "network/vpc", traffic_type = "REJECT", aggregation_seconds = 60 }`), ConfigPlanChecks: update,
			Check: a.logsTo("arn:aws:s3:::logs-123456789012/network/vpc/ REJECT 60"),
		},
		{
			Config: vpcConfig(`flow_logs = { bucket = "logs-123456789012", traffic_type = "REJECT" }`), ConfigPlanChecks: update,
			Check: a.logsTo("arn:aws:s3:::logs-123456789012 REJECT 600"),
		},
		{ // tags reach the flow log
			Config: vpcConfig(`
				tags = { team = "core" }
				flow_logs = { bucket = "logs-123456789012", traffic_type = "REJECT" }`), ConfigPlanChecks: update,
			Check: acctest.Check(func(ctx context.Context) error {
				logs, err := a.flowLogs(ctx)
				if err == nil && !strings.Contains(fmt.Sprint(tagsOf(logs[0].Tags)), "team:core") {
					err = fmt.Errorf("tags are %v", tagsOf(logs[0].Tags))
				}
				return err
			}),
		},
		{Config: vpcConfig(`tags = { team = "core" }`), ConfigPlanChecks: update, Check: a.logsTo()},
		{Config: vpcConfig(`flow_logs = { bucket = "logs-123456789012" }`), ConfigPlanChecks: update}, // destroyed with the VPC
	}})
}

func tagsOf(tags []ec2types.Tag) map[string]string {
	all := map[string]string{}
	for _, tag := range tags {
		all[*tag.Key] = *tag.Value
	}
	return all
}

func TestFlowLogDriftIsReverted(t *testing.T) {
	a := newAccount(t)
	a.logsBucket("logs-123456789012", true)
	config := vpcConfig(`flow_logs = { bucket = "logs-123456789012" }`)
	const one = "arn:aws:s3:::logs-123456789012 ALL 600"
	remove := func(ctx context.Context) error {
		logs, err := a.flowLogs(ctx)
		if err != nil {
			return err
		}
		_, err = a.EC2.DeleteFlowLogs(ctx, &ec2.DeleteFlowLogsInput{FlowLogIds: []string{*logs[0].FlowLogId}})
		return err
	}
	create := func(ctx context.Context, destination, name string) error {
		_, err := a.EC2.CreateFlowLogs(ctx, &ec2.CreateFlowLogsInput{ResourceIds: []string{a.ids[vpc]}, ResourceType: "VPC", TrafficType: "REJECT",
			LogDestinationType: "s3", LogDestination: &destination, TagSpecifications: tagged(ec2types.ResourceTypeVpcFlowLog, name)})
		return err
	}
	steps := []resource.TestStep{
		{Config: config, Check: a.note(vpc)},
		{
			PreConfig: a.behindTerraform(remove), Config: config,
			ConfigPlanChecks: expect(vpc, plancheck.ResourceActionUpdate), Check: a.logsTo(one),
		},
		{ // replaced by one for less traffic
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				return firstOf(remove(ctx), create(ctx, "arn:aws:s3:::logs-123456789012", "production"))
			}),
			Config: config, ConfigPlanChecks: expect(vpc, plancheck.ResourceActionUpdate), Check: a.logsTo(one),
		},
	}
	// An interrupted change leaves two.
	steps = append(steps, repairs(vpc, config, "the VPC has 2 flow logs of this resource", a.behindTerraform(func(ctx context.Context) error {
		return create(ctx, "arn:aws:s3:::logs-123456789012/former/", "production")
	}))...)
	steps[len(steps)-1].Check = a.logsTo(one)
	a.Test(resource.TestCase{Steps: steps})
}

func TestFlowLogsOfOthersStay(t *testing.T) {
	a := newAccount(t)
	a.logsBucket("audit", false)
	steps := []resource.TestStep{
		{Config: vpcConfig(""), Check: a.note(vpc)},
		{
			PreConfig: a.behindTerraform(func(ctx context.Context) error {
				_, err := a.EC2.CreateFlowLogs(ctx, &ec2.CreateFlowLogsInput{ResourceIds: []string{a.ids[vpc]}, ResourceType: "VPC", TrafficType: "ALL",
					LogDestinationType: "s3", LogDestination: aws.String("arn:aws:s3:::audit")})
				return err
			}),
			Config: vpcConfig(`tags = { team = "core" }`), Check: a.logsTo("arn:aws:s3:::audit ALL 600"),
		},
		{Config: vpcConfig(""), Check: acctest.Check(func(ctx context.Context) error {
			logs, err := a.flowLogs(ctx)
			if err == nil {
				_, err = a.EC2.DeleteFlowLogs(ctx, &ec2.DeleteFlowLogsInput{FlowLogIds: []string{*logs[0].FlowLogId}})
			}
			return err
		})},
	}
	a.Test(resource.TestCase{Steps: steps})
}

func TestFlowLogErrorsSayWhatToDo(t *testing.T) {
	const refused = `does not let delivery\.logs\.amazonaws\.com write arn:aws:s3:::closed/AWSLogs/123456789012/vpcflowlogs/eu-west-1/\*; set receive_flow_logs`
	for name, tc := range map[string]struct{ config, says string }{
		"no policy":    {`flow_logs = { bucket = "closed" }`, refused},
		"no bucket":    {`flow_logs = { bucket = "missing" }`, `there is no bucket missing; create it before the VPC`},
		"prefix":       {`flow_logs = { bucket = "closed", prefix = "/vpc/" }`, `single slashes between, and none at the start or end`},
		"traffic type": {`flow_logs = { bucket = "closed", traffic_type = "all" }`, `"ALL" "ACCEPT" "REJECT"`},
		"aggregation":  {`flow_logs = { bucket = "closed", aggregation_seconds = 300 }`, `value must be one of: \["60" "600"\]`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			a.logsBucket("closed", false)
			says := regexp.MustCompile(strings.ReplaceAll(strings.ReplaceAll(tc.says, `" "`, `"[\s│,]+"`), " ", `[\s│]+`))
			a.Test(resource.TestCase{Steps: []resource.TestStep{{Config: vpcConfig(tc.config), ExpectError: says}}})
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
		{Config: vpcConfig(`flow_logs = { bucket = "elsewhere" }`), ExpectError: matching(`create flow log to arn:aws:s3:::elsewhere: (.|\n)*LogDestination: elsewhere does not exist`)},
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
				{Config: vpcConfig(`flow_logs = { bucket = "logs-123456789012" }`), Check: a.logsTo("arn:aws:s3:::logs-123456789012 ALL 600")},
				{Config: vpcConfig(`flow_logs = { bucket = "logs-123456789012", prefix = "vpc" }`), Check: a.logsTo("arn:aws:s3:::logs-123456789012/vpc/ ALL 600")},
			}})
		})
	}
}
