package fixups

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

var placementElements = regexp.MustCompile(`<groupName>[^<]*</groupName>|<groupName/>|<tenancy>[^<]*</tenancy>`)

// placement has placement groups and the placement of instances, of which moto knows the
// zone only. Names are unique in the whole account: tests use one region.
func placement() fakeaws.Middleware {
	p := &placements{groups: map[string]string{}, of: map[string]instancePlacement{}}
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			switch {
			case c.Is(fakeaws.EC2, "CreatePlacementGroup"):
				return p.create(c), nil
			case c.Is(fakeaws.EC2, "DescribePlacementGroups"):
				return p.describe(c), nil
			case c.Is(fakeaws.EC2, "ModifyInstancePlacement"):
				return p.modify(c)
			case c.Is(fakeaws.EC2, "RunInstances"):
				return p.launch(c, next)
			}
			res, err := next(c)
			if !succeeded(res, err) || !c.Is(fakeaws.EC2, "DescribeInstances") {
				return res, err
			}
			return p.show(res)
		}
	}
}

type instancePlacement struct{ tenancy, group string }

// placements holds the strategies of the placement groups by name, and where instances
// are, by id.
type placements struct {
	mu     sync.Mutex
	groups map[string]string
	of     map[string]instancePlacement
}

func (p *placements) create(c *fakeaws.Call) *http.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups[c.Params.Get("GroupName")] = c.Params.Get("Strategy")
	return c.Answer(http.StatusOK, "<CreatePlacementGroupResponse><return>true</return></CreatePlacementGroupResponse>")
}

// describe knows the filter by name.
func (p *placements) describe(c *fakeaws.Call) *http.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	var items strings.Builder
	for _, name := range listParam(c.Params, "Filter.1.Value") {
		if strategy, exists := p.groups[name]; exists {
			fmt.Fprintf(&items, "<item><groupName>%s</groupName><state>available</state><strategy>%s</strategy></item>", name, strategy)
		}
	}
	return c.Answer(http.StatusOK, "<DescribePlacementGroupsResponse><placementGroupSet>"+items.String()+"</placementGroupSet></DescribePlacementGroupsResponse>")
}

// modify changes the placement of a stopped instance.
func (p *placements) modify(c *fakeaws.Call) (*http.Response, error) {
	id := c.Params.Get("InstanceId")
	i, err := describeInstance(c, id)
	if err != nil {
		return asRefusal(c, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := p.of[id]
	if c.Params.Has("GroupName") {
		wanted.group = c.Params.Get("GroupName")
	}
	if c.Params.Has("Tenancy") {
		wanted.tenancy = c.Params.Get("Tenancy")
	}
	if i.State.Name != types.InstanceStateNameStopped {
		return refuse("IncorrectInstanceState", fmt.Sprintf("The instance '%s' is not in the 'stopped' state.", id)).answer(c), nil
	}
	if refused := p.refuse(wanted); refused != nil {
		return refused.answer(c), nil
	}
	p.of[id] = wanted
	return c.Answer(http.StatusOK, "<ModifyInstancePlacementResponse><return>true</return></ModifyInstancePlacementResponse>"), nil
}

// refuse returns why AWS would refuse the placement. The caller holds the lock.
func (p *placements) refuse(wanted instancePlacement) *refusal {
	strategy, exists := p.groups[wanted.group]
	switch {
	case wanted.group != "" && !exists:
		return refuse("InvalidPlacementGroup.Unknown", fmt.Sprintf("The Placement Group '%s' is unknown.", wanted.group))
	case strategy == "spread" && wanted.tenancy != "default":
		return refuse("InvalidParameterCombination", "Instances of tenancy "+wanted.tenancy+" cannot be in a spread placement group.")
	}
	return nil
}

func (p *placements) launch(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	vpc, err := vpcTenancy(c)
	if err != nil {
		return asRefusal(c, err)
	}
	wanted := instancePlacement{c.Params.Get("Placement.Tenancy"), c.Params.Get("Placement.GroupName")}
	if wanted.tenancy == "" {
		wanted.tenancy = vpc
	}
	p.mu.Lock()
	refused := p.refuse(wanted)
	p.mu.Unlock()
	if vpc == "dedicated" && wanted.tenancy == "default" {
		refused = refuse("InvalidParameterCombination", "The tenancy of the VPC is dedicated.")
	}
	if refused != nil {
		return refused.answer(c), nil
	}
	res, err := next(c)
	if !succeeded(res, err) {
		return res, err
	}
	body, err := fakeaws.Body(res)
	if err != nil {
		return nil, err
	}
	fakeaws.SetBody(res, body)
	p.mu.Lock()
	p.of[element(string(body), "instanceId")] = wanted
	p.mu.Unlock()
	return p.show(res)
}

// vpcTenancy returns the tenancy of the VPC of a launch.
func vpcTenancy(c *fakeaws.Call) (string, error) {
	subnet := c.Params.Get("SubnetId")
	if s := c.Params.Get("NetworkInterface.1.SubnetId"); s != "" {
		subnet = s
	}
	if subnet == "" {
		return "default", nil
	}
	subnets, err := ec2Of(c).DescribeSubnets(c.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{subnet}})
	if err != nil {
		return "", err
	}
	vpcs, err := ec2Of(c).DescribeVpcs(c.Context(), &ec2.DescribeVpcsInput{VpcIds: []string{aws.ToString(subnets.Subnets[0].VpcId)}})
	if err != nil {
		return "", err
	}
	return string(vpcs.Vpcs[0].InstanceTenancy), nil
}

// show adds the placement to the instances of a response.
func (p *placements) show(res *http.Response) (*http.Response, error) {
	body, err := fakeaws.Body(res)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fakeaws.SetBody(res, []byte(mapItems(string(body), "instancesSet", func(item string) (string, bool) {
		at, known := p.of[element(item, "instanceId")]
		if !known {
			return item, true
		}
		shown := element(item, "placement")
		corrected := placementElements.ReplaceAllString(shown, "") + "<groupName>" + at.group + "</groupName><tenancy>" + at.tenancy + "</tenancy>"
		return strings.Replace(item, "<placement>"+shown, "<placement>"+corrected, 1), true
	})))
	return res, nil
}
