package fixups

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// connectEndpoint adds EC2 Instance Connect Endpoints, which moto does not have: one
// per VPC, with a network interface in its subnet while it exists. Each change takes
// the given time.
func connectEndpoint(d time.Duration) func() fakeaws.Middleware {
	return func() fakeaws.Middleware {
		e := &connectEndpoints{delay: d, byID: map[string]*connectEndpointState{}}
		return func(next fakeaws.Handler) fakeaws.Handler {
			return func(c *fakeaws.Call) (*http.Response, error) {
				var answer func(*fakeaws.Call) (string, *refusal, error)
				switch {
				case c.Is(fakeaws.EC2, "CreateInstanceConnectEndpoint"):
					answer = e.create
				case c.Is(fakeaws.EC2, "DescribeInstanceConnectEndpoints"):
					answer = e.describe
				case c.Is(fakeaws.EC2, "DeleteInstanceConnectEndpoint"):
					answer = e.delete
				default:
					return next(c)
				}
				e.mu.Lock()
				defer e.mu.Unlock()
				body, refused, err := answer(c)
				switch {
				case err != nil:
					return asRefusal(c, err)
				case refused != nil:
					return refused.answer(c), nil
				}
				return c.Answer(http.StatusOK, fmt.Sprintf(`<%[1]sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>0</requestId>%[2]s</%[1]sResponse>`, c.Action, body)), nil
			}
		}
	}
}

type connectEndpoints struct {
	delay time.Duration
	mu    sync.Mutex
	byID  map[string]*connectEndpointState
}

type connectEndpointState struct {
	subnet, vpc, networkInterface string
	token                         string
	groups                        []string
	tags                          map[string]string
	changed                       time.Time
	deleting                      bool
}

func (e *connectEndpoints) create(c *fakeaws.Call) (string, *refusal, error) {
	subnet := c.Params.Get("SubnetId")
	subnets, err := ec2Of(c).DescribeSubnets(c.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{subnet}})
	if err != nil {
		return "", nil, err
	}
	s := &connectEndpointState{subnet: subnet, vpc: aws.ToString(subnets.Subnets[0].VpcId), groups: listParam(c.Params, "SecurityGroupId"),
		tags: map[string]string{}, changed: time.Now(), token: c.Params.Get("ClientToken")}
	for id, other := range e.byID {
		if other.vpc == s.vpc && other.token == c.Params.Get("ClientToken") && other.token != "" {
			return "<instanceConnectEndpoint>" + other.xml(id, e.delay) + "</instanceConnectEndpoint>", nil, nil // a repeated call
		}
		if other.vpc == s.vpc {
			return "", refuse("InstanceConnectEndpointLimitExceeded", "The maximum number of EC2 Instance Connect Endpoints of "+s.vpc+" has been reached."), nil
		}
	}
	made, err := ec2Of(c).CreateNetworkInterface(c.Context(), &ec2.CreateNetworkInterfaceInput{SubnetId: &subnet, Groups: s.groups, Description: aws.String("EC2 Instance Connect Endpoint")})
	if err != nil {
		return "", nil, err
	}
	s.networkInterface = aws.ToString(made.NetworkInterface.NetworkInterfaceId)
	for n := 1; c.Params.Has(fmt.Sprintf("TagSpecification.1.Tag.%d.Key", n)); n++ {
		s.tags[c.Params.Get(fmt.Sprintf("TagSpecification.1.Tag.%d.Key", n))] = c.Params.Get(fmt.Sprintf("TagSpecification.1.Tag.%d.Value", n))
	}
	id := make([]byte, 9)
	_, _ = rand.Read(id) // never fails
	name := "eice-" + hex.EncodeToString(id)[:17]
	e.byID[name] = s
	return "<instanceConnectEndpoint>" + s.xml(name, e.delay) + "</instanceConnectEndpoint>", nil, nil
}

func (e *connectEndpoints) describe(c *fakeaws.Call) (string, *refusal, error) {
	var items strings.Builder
	for id, s := range e.byID {
		if s.deleting && time.Since(s.changed) >= e.delay {
			if _, err := ec2Of(c).DeleteNetworkInterface(c.Context(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &s.networkInterface}); err != nil {
				return "", nil, err
			}
			delete(e.byID, id)
			continue
		}
		matches := true
		for n := 1; c.Params.Has(indexed("Filter", n) + ".Name"); n++ {
			values := listParam(c.Params, indexed("Filter", n)+".Value")
			matches = matches && slices.Contains(values, s.attribute(c.Params.Get(indexed("Filter", n)+".Name")))
		}
		if matches {
			items.WriteString("<item>" + s.xml(id, e.delay) + "</item>")
		}
	}
	return "<instanceConnectEndpointSet>" + items.String() + "</instanceConnectEndpointSet>", nil, nil
}

func (e *connectEndpoints) delete(c *fakeaws.Call) (string, *refusal, error) {
	id := c.Params.Get("InstanceConnectEndpointId")
	s := e.byID[id]
	if s == nil {
		return "", refuse("InvalidInstanceConnectEndpointId.NotFound", "The endpoint '"+id+"' does not exist"), nil
	}
	s.deleting, s.changed = true, time.Now()
	return "<instanceConnectEndpoint>" + s.xml(id, e.delay) + "</instanceConnectEndpoint>", nil, nil
}

// attribute returns what a filter of that name compares.
func (s *connectEndpointState) attribute(filter string) string {
	switch filter {
	case "vpc-id":
		return s.vpc
	case "subnet-id":
		return s.subnet
	}
	return s.tags[strings.TrimPrefix(filter, "tag:")]
}

func (s *connectEndpointState) xml(id string, delay time.Duration) string {
	state := types.Ec2InstanceConnectEndpointStateCreateComplete
	switch {
	case s.deleting:
		state = types.Ec2InstanceConnectEndpointStateDeleteInProgress
	case time.Since(s.changed) < delay:
		state = types.Ec2InstanceConnectEndpointStateCreateInProgress
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<instanceConnectEndpointId>%s</instanceConnectEndpointId><state>%s</state><subnetId>%s</subnetId><vpcId>%s</vpcId>"+
		"<preserveClientIp>false</preserveClientIp><networkInterfaceIdSet><item>%s</item></networkInterfaceIdSet><securityGroupIdSet>", id, state, s.subnet, s.vpc, s.networkInterface)
	for _, g := range s.groups {
		b.WriteString("<item>" + g + "</item>")
	}
	b.WriteString("</securityGroupIdSet><tagSet>")
	for key, value := range s.tags {
		b.WriteString("<item><key>" + xmlText(key) + "</key><value>" + xmlText(value) + "</value></item>")
	}
	b.WriteString("</tagSet>")
	return b.String()
}

func xmlText(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // writes to a Builder do not fail
	return b.String()
}
