package permit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
)

func (g *Guard) ec2Requests(c *fakeaws.Call, next fakeaws.Handler) ([]iampolicy.Request, error) {
	all, err := g.onTargets(c, next)
	if err != nil {
		return nil, err
	}
	tags := requestTags(c)
	for _, kind := range creates[c.Action] {
		all = append(all, iampolicy.Request{Action: "ec2:" + c.Action, Resource: g.ec2ARN(c, kind, "*"), Context: tags[kind]})
	}
	if len(all) == 0 {
		all = append(all, iampolicy.Request{Action: "ec2:" + c.Action, Resource: g.ec2ARN(c, "*", "*")})
	}
	for _, kind := range slices.Sorted(maps.Keys(tags)) {
		context := maps.Clone(tags[kind])
		context["ec2:createaction"] = []string{c.Action}
		all = append(all, iampolicy.Request{Action: "ec2:CreateTags", Resource: g.ec2ARN(c, kind, "*"), Context: context})
	}
	if profile := cmp.Or(c.Params.Get("IamInstanceProfile.Name"), c.Params.Get("IamInstanceProfile.Arn")); profile != "" {
		all = append(all, g.passRole(g.roleOfProfile(c, profile)))
	}
	return append(all, g.serviceRoles(c)...), nil
}

// onTargets returns what a call needs on each existing resource that it names.
func (g *Guard) onTargets(c *fakeaws.Call, next fakeaws.Handler) ([]iampolicy.Request, error) {
	var all []iampolicy.Request
	for _, parameter := range targets[c.Action] {
		for _, name := range values(c, parameter) {
			ids, err := associated(c, name)
			if err != nil {
				return nil, err
			}
			for _, id := range ids {
				prefix, _, _ := strings.Cut(id, "-")
				kind := cmp.Or(kinds[prefix], "*")
				if parameter == "KeyName" {
					kind = "key-pair"
				}
				tags, err := tagsOf(c, next, id)
				if err != nil {
					return nil, err
				}
				all = append(all, iampolicy.Request{Action: "ec2:" + c.Action, Resource: g.ec2ARN(c, kind, id), Context: tags})
			}
		}
	}
	return all, nil
}

// ec2ARN returns the ARN of a resource; those of images and snapshots have no account.
func (g *Guard) ec2ARN(c *fakeaws.Call, kind, id string) string {
	account := g.account
	if kind == "image" || kind == "snapshot" {
		account = ""
	}
	if kind == "*" {
		return "arn:aws:ec2:" + c.Region + ":" + account + ":*"
	}
	return "arn:aws:ec2:" + c.Region + ":" + account + ":" + kind + "/" + id
}

// requestTags returns the tags of new resources as condition keys, by type.
func requestTags(c *fakeaws.Call) map[string]map[string][]string {
	all := map[string]map[string][]string{}
	for n := 1; c.Params.Has(fmt.Sprintf("TagSpecification.%d.ResourceType", n)); n++ {
		spec := fmt.Sprintf("TagSpecification.%d.", n)
		tags := map[string][]string{}
		for t := 1; c.Params.Has(fmt.Sprintf("%sTag.%d.Key", spec, t)); t++ {
			tag := fmt.Sprintf("%sTag.%d.", spec, t)
			tags["aws:requesttag/"+lower(c.Params.Get(tag+"Key"))] = []string{c.Params.Get(tag + "Value")}
		}
		all[c.Params.Get(spec+"ResourceType")] = tags
	}
	return all
}

// serviceRoles returns the service-linked roles that EC2 creates in the caller's name in
// an account that does not have them yet; here, none has.
func (g *Guard) serviceRoles(c *fakeaws.Call) []iampolicy.Request {
	role := func(service, name string) []iampolicy.Request {
		return []iampolicy.Request{{Action: "iam:CreateServiceLinkedRole", Resource: "arn:aws:iam::" + g.account + ":role/aws-service-role/" + service + "/" + name,
			Context: map[string][]string{"iam:awsservicename": {service}}}}
	}
	switch {
	case c.Action == "CreateInstanceConnectEndpoint":
		return role("ec2-instance-connect.amazonaws.com", "AWSServiceRoleForEc2InstanceConnect")
	case c.Action == "RunInstances" && c.Params.Get("InstanceMarketOptions.MarketType") == "spot":
		return role("spot.amazonaws.com", "AWSServiceRoleForEC2Spot")
	}
	return nil
}
