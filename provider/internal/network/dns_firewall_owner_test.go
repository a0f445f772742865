package network

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	resolver "github.com/aws/aws-sdk-go-v2/service/route53resolver"
)

// Another account may share a group of any name, and Firewall Manager may associate one
// with the VPC.
func TestTheDNSFirewallOfAnotherAccountIsNotTaken(t *testing.T) {
	const vpc = "vpc-1"
	answers := map[string]string{
		"ListFirewallRuleGroups": `{"FirewallRuleGroups":[
			{"Id":"theirs","Name":"xeroops-vpc-1","OwnerId":"999999999999","ShareStatus":"SHARED_WITH_ME"},
			{"Id":"own","Name":"xeroops-vpc-1","OwnerId":"123456789012","ShareStatus":"%s"}]}`,
		"ListFirewallRules": `{"FirewallRules":[]}`,
		"ListFirewallRuleGroupAssociations": `{"FirewallRuleGroupAssociations":[
			{"Id":"theirs","Name":"xeroops-vpc-1","ManagedOwnerName":"Firewall Manager","Status":"COMPLETE"},{"Id":"own","Name":"xeroops-vpc-1","Status":"COMPLETE"}]}`,
		"ListFirewallDomainLists": `{"FirewallDomainLists":[
			{"Id":"own","Name":"xeroops-vpc-1-allowed"},{"Id":"theirs","Name":"xeroops-vpc-1-allowed","ManagedOwnerName":"Route 53 Resolver DNS Firewall"}]}`,
		"ListFirewallDomains": `{"Domains":[]}`,
		"GetFirewallConfig":   `{"FirewallConfig":{"FirewallFailOpen":"DISABLED"}}`,
	}
	for _, status := range []string{"NOT_SHARED", "SHARED_BY_ME"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
			answer := answers[action]
			if strings.Contains(answer, "%s") {
				answer = fmt.Sprintf(answer, status)
			}
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			_, _ = w.Write([]byte(answer))
		}))
		t.Cleanup(server.Close)
		api := firewallAPI{vpc: vpc, name: "xeroops-" + vpc, Client: resolver.NewFromConfig(aws.Config{BaseEndpoint: &server.URL, Region: "eu-west-1",
			Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})}
		found, err := api.find(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if found.group == nil || aws.ToString(found.group.Id) != "own" || aws.ToString(found.association.Id) != "own" || found.allowed.id != "own" {
			t.Errorf("%s: found the group %+v, the association %+v and the list %+v", status, found.group, found.association, found.allowed)
		}
	}
}
