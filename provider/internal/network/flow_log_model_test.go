package network

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/awswait"
)

func TestFlowLogModelSurvivesAWS(t *testing.T) {
	for _, prefix := range []types.String{types.StringNull(), types.StringValue("network/vpc")} {
		m := flowLogModel{VPCID: types.StringValue("vpc-1"), Bucket: types.StringValue("logs-123456789012"), Prefix: prefix,
			TrafficType: types.StringValue("REJECT"), AggregationSeconds: types.Int64Value(60)}
		log := ec2types.FlowLog{ResourceId: aws.String("vpc-1"), LogDestination: aws.String(m.destination("aws-cn")), TrafficType: "REJECT", MaxAggregationInterval: aws.Int32(60)}
		var back flowLogModel
		if back.setLog(log); back.Bucket != m.Bucket || back.Prefix != m.Prefix || m.difference(log) != "" {
			t.Errorf("%v became %v: %s", m, back, m.difference(log))
		}
	}
}

func TestDifferenceOfAFlowLog(t *testing.T) {
	log := ec2types.FlowLog{ResourceId: aws.String("vpc-1"), LogDestination: aws.String("arn:aws:s3:::logs/vpc/"), TrafficType: "ALL", MaxAggregationInterval: aws.Int32(600)}
	for want, change := range map[string]func(*flowLogModel){
		"": func(m *flowLogModel) {
			m.VPCID, m.Bucket, m.TrafficType = types.StringUnknown(), types.StringUnknown(), types.StringUnknown()
		},
		"it is of vpc-1":                      func(m *flowLogModel) { m.VPCID = types.StringValue("vpc-2") },
		"it logs to arn:aws:s3:::logs/vpc/":   func(m *flowLogModel) { m.Prefix = types.StringNull() },
		"its traffic type is ALL":             func(m *flowLogModel) { m.TrafficType = types.StringValue("REJECT") },
		"its records cover up to 600 seconds": func(m *flowLogModel) { m.AggregationSeconds = types.Int64Value(60) },
	} {
		var m flowLogModel
		m.setLog(log)
		change(&m)
		if got := m.difference(log); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOnlyAFailedFlowLogIsUndelivered(t *testing.T) {
	log := ec2types.FlowLog{FlowLogId: aws.String("fl-1"), DeliverLogsStatus: aws.String("SUCCESS")}
	if err := undelivered(log); err != nil {
		t.Error(err)
	}
	log.DeliverLogsStatus, log.DeliverLogsErrorMessage = aws.String("FAILED"), aws.String("Access error")
	if err := undelivered(log); err == nil || !strings.Contains(err.Error(), "fl-1") || !strings.Contains(err.Error(), "Access error") {
		t.Errorf("got %v", err)
	}
}

func TestBucketPolicyThatAllowsDelivery(t *testing.T) {
	const object = "arn:aws:s3:::logs/vpc/AWSLogs/123456789012/vpcflowlogs/eu-west-1/"
	statement := func(effect, principal, action, resource string) string {
		return `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::logs"]},{"Effect":"` + effect + `","Principal":` + principal +
			`,"Action":` + action + `,"Resource":"` + resource + `"}]}`
	}
	const delivery, put = `{"Service":"delivery.logs.amazonaws.com"}`, `"s3:PutObject"`
	for name, tc := range map[string]struct {
		policy string
		allows bool
	}{
		"the example's":   {statement("Allow", delivery, put, "arn:aws:s3:::logs/vpc/AWSLogs/123456789012/*"), true},
		"lists":           {statement("Allow", `{"Service":["x","delivery.logs.amazonaws.com"]}`, `["s3:GetObject","S3:Put*"]`, "arn:aws:s3:::logs/*"), true},
		"another prefix":  {statement("Allow", delivery, put, "arn:aws:s3:::logs/AWSLogs/123456789012/*"), false},
		"another account": {statement("Allow", delivery, put, "arn:aws:s3:::logs/vpc/AWSLogs/210987654321/*"), false},
		"everybody":       {statement("Allow", `"*"`, put, "arn:aws:s3:::logs/*"), false},
		"a denial":        {statement("Deny", delivery, put, "arn:aws:s3:::logs/*"), false},
		"another action":  {statement("Allow", delivery, `"s3:GetBucketAcl"`, "arn:aws:s3:::logs/*"), false},
		"no policy":       {"", false},
	} {
		if got := allowsDelivery(tc.policy, "s3:PutObject", object); got != tc.allows {
			t.Errorf("%s: allowed is %v", name, got)
		}
	}
}

func TestFailuresInASuccessfulResponse(t *testing.T) {
	item := func(code string) ec2types.UnsuccessfulItem {
		return ec2types.UnsuccessfulItem{ResourceId: aws.String("x"), Error: &ec2types.UnsuccessfulItemError{Code: &code, Message: aws.String("text of " + code)}}
	}
	if err := unsuccessful([]ec2types.UnsuccessfulItem{{}}); err != nil {
		t.Error(err)
	}
	if err := unsuccessful([]ec2types.UnsuccessfulItem{item("InvalidFlowLogId.NotFound")}); !awswait.IsNotFound(err) {
		t.Errorf("a flow log that is gone: %v", err)
	}
	if err := unsuccessful([]ec2types.UnsuccessfulItem{item("Unauthorized")}); err == nil || !strings.Contains(err.Error(), "text of Unauthorized") {
		t.Errorf("got %v", err)
	}
}
