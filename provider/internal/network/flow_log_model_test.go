package network

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

func TestFlowLogModelSurvivesAWS(t *testing.T) {
	for _, prefix := range []types.String{types.StringNull(), types.StringValue("network/vpc")} {
		m := flowLogsModel{Bucket: types.StringValue("logs-123456789012"), Prefix: prefix, TrafficType: types.StringValue("REJECT"), AggregationSeconds: types.Int64Value(60)}
		log := ec2types.FlowLog{LogDestination: aws.String(m.destination("aws-cn")), TrafficType: "REJECT", MaxAggregationInterval: aws.Int32(60)}
		if back := *flattenFlowLog(log); back != m || !m.same(log, "aws-cn") || m.same(log, "aws") {
			t.Errorf("%v became %v", m, back)
		}
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
		if got := allowsDelivery(tc.policy, object); got != tc.allows {
			t.Errorf("%s: allowed is %v", name, got)
		}
	}
}

func TestFailuresInASuccessfulResponse(t *testing.T) {
	item := func(code string) ec2types.UnsuccessfulItem {
		return ec2types.UnsuccessfulItem{ResourceId: aws.String("x"), Error: &ec2types.UnsuccessfulItemError{Code: &code, Message: aws.String("text of " + code)}}
	}
	if err := unsuccessful([]ec2types.UnsuccessfulItem{item("InvalidFlowLogId.NotFound"), {}}); err != nil {
		t.Errorf("a flow log that is gone: %v", err)
	}
	err := unsuccessful([]ec2types.UnsuccessfulItem{item("InvalidFlowLogId.NotFound"), item("Unauthorized")})
	if err == nil || !strings.Contains(err.Error(), "text of Unauthorized") {
		t.Errorf("got %v", err)
	}
}
