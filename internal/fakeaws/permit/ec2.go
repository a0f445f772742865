package permit

import (
	"cmp"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
)

// targets are the actions of which the policies name the resource or its tags, with
// the parameter that has it and the type in its ARN.
var targets = map[string]struct{ parameter, kind string }{
	"TerminateInstances":    {"InstanceId", "instance"},
	"StopInstances":         {"InstanceId", "instance"},
	"StartInstances":        {"InstanceId", "instance"},
	"DeleteVpc":             {"VpcId", "vpc"},
	"DeleteSubnet":          {"SubnetId", "subnet"},
	"DeleteRouteTable":      {"RouteTableId", "route-table"},
	"DeleteInternetGateway": {"InternetGatewayId", "internet-gateway"},
	"DeleteVpcEndpoints":    {"VpcEndpointId", "vpc-endpoint"},
	"DeleteFlowLogs":        {"FlowLogId", "vpc-flow-log"},
	"DeleteSecurityGroup":   {"GroupId", "security-group"},
	"DeleteVolume":          {"VolumeId", "volume"},
	"DeleteSnapshot":        {"SnapshotId", "snapshot"},
	"DeregisterImage":       {"ImageId", "image"},
	"ReleaseAddress":        {"AllocationId", "elastic-ip"},
	"DeleteKeyPair":         {"KeyName", "key-pair"},
	"CreateTags":            {"ResourceId", "*"},
	"DeleteTags":            {"ResourceId", "*"},
}

func (g *Guard) ec2Requests(c *fakeaws.Call) ([]iampolicy.Request, error) {
	prefix := "arn:aws:ec2:" + c.Region + ":" + g.account + ":"
	var all []iampolicy.Request
	if target, known := targets[c.Action]; known {
		for _, id := range values(c, target.parameter) {
			tags, err := tagsOf(c, id)
			if err != nil {
				return nil, err
			}
			all = append(all, iampolicy.Request{Action: "ec2:" + c.Action, Resource: prefix + target.kind + "/" + id, Context: tags})
		}
	} else {
		all = append(all, iampolicy.Request{Action: "ec2:" + c.Action, Resource: prefix + "*"})
	}
	for n := 1; c.Params.Has(fmt.Sprintf("TagSpecification.%d.ResourceType", n)); n++ {
		spec := fmt.Sprintf("TagSpecification.%d.", n)
		context := map[string][]string{"ec2:createaction": {c.Action}}
		for t := 1; c.Params.Has(fmt.Sprintf("%sTag.%d.Key", spec, t)); t++ {
			tag := fmt.Sprintf("%sTag.%d.", spec, t)
			context["aws:requesttag/"+lower(c.Params.Get(tag+"Key"))] = []string{c.Params.Get(tag + "Value")}
		}
		all = append(all, iampolicy.Request{Action: "ec2:CreateTags", Resource: prefix + c.Params.Get(spec+"ResourceType") + "/*", Context: context})
	}
	if profile := cmp.Or(c.Params.Get("IamInstanceProfile.Name"), c.Params.Get("IamInstanceProfile.Arn")); profile != "" {
		all = append(all, g.passRole(g.roleOfProfile(c, profile)))
	}
	return all, nil
}

// tagsOf returns the tags of a resource as condition keys.
func tagsOf(c *fakeaws.Call, id string) (map[string][]string, error) {
	out, err := ec2.NewFromConfig(c.Moto()).DescribeTags(c.Context(), &ec2.DescribeTagsInput{
		Filters: []types.Filter{{Name: aws.String("resource-id"), Values: []string{id}}}})
	if err != nil {
		return nil, fmt.Errorf("read the tags of %s: %w", id, err)
	}
	tags := map[string][]string{}
	for _, t := range out.Tags {
		tags["aws:resourcetag/"+lower(aws.ToString(t.Key))] = []string{aws.ToString(t.Value)}
	}
	return tags, nil
}

func (g *Guard) passRole(arn string) iampolicy.Request {
	return iampolicy.Request{Action: "iam:PassRole", Resource: arn, Context: map[string][]string{"iam:passedtoservice": {"ec2.amazonaws.com"}}}
}

// roleOfProfile returns the ARN of the role in an instance profile.
func (g *Guard) roleOfProfile(c *fakeaws.Call, name string) string {
	out, err := iam.NewFromConfig(c.Moto()).GetInstanceProfile(c.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(afterSlash(name))})
	if err != nil || len(out.InstanceProfile.Roles) == 0 {
		return "arn:aws:iam::" + g.account + ":role/" + afterSlash(name)
	}
	return aws.ToString(out.InstanceProfile.Roles[0].Arn)
}

// extraPermissions are what IAM checks if an entity is created with tags.
var extraPermissions = map[string]string{"CreateRole": "iam:TagRole", "CreateInstanceProfile": "iam:TagInstanceProfile"}

func (g *Guard) iamRequests(c *fakeaws.Call) ([]iampolicy.Request, error) {
	role, profile := c.Params.Get("RoleName"), c.Params.Get("InstanceProfileName")
	request := iampolicy.Request{Action: "iam:" + c.Action, Resource: "*", Context: map[string][]string{}}
	switch {
	case profile != "":
		request.Resource = g.profileARN(c, profile)
	case role != "":
		request.Resource = g.roleARN(c, role)
	}
	if boundary := c.Params.Get("PermissionsBoundary"); boundary != "" {
		request.Context["iam:permissionsboundary"] = []string{boundary}
	}
	if policy := c.Params.Get("PolicyArn"); policy != "" {
		request.Context["iam:policyarn"] = []string{policy}
	}
	all := []iampolicy.Request{request}
	if extra := extraPermissions[c.Action]; extra != "" && c.Params.Has("Tags.member.1.Key") {
		all = append(all, iampolicy.Request{Action: extra, Resource: request.Resource, Context: maps.Clone(request.Context)})
	}
	if c.Action == "AddRoleToInstanceProfile" {
		all = append(all, g.passRole(g.roleARN(c, role)))
	}
	return all, nil
}

func (g *Guard) roleARN(c *fakeaws.Call, name string) string {
	if out, err := iam.NewFromConfig(c.Moto()).GetRole(c.Context(), &iam.GetRoleInput{RoleName: &name}); err == nil {
		return aws.ToString(out.Role.Arn)
	}
	return "arn:aws:iam::" + g.account + ":role" + cmp.Or(c.Params.Get("Path"), "/") + name
}

func (g *Guard) profileARN(c *fakeaws.Call, name string) string {
	if out, err := iam.NewFromConfig(c.Moto()).GetInstanceProfile(c.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: &name}); err == nil {
		return aws.ToString(out.InstanceProfile.Arn)
	}
	return "arn:aws:iam::" + g.account + ":instance-profile" + cmp.Or(c.Params.Get("Path"), "/") + name
}
