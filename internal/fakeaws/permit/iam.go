package permit

import (
	"cmp"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/iampolicy"
)

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
	boundary := c.Params.Get("PermissionsBoundary")
	if slices.Contains(onBoundary, c.Action) {
		boundary = boundaryOf(c, role)
	}
	if boundary != "" {
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

// onBoundary are the actions with the condition key iam:PermissionsBoundary that have
// the existing role's boundary in it; CreateRole and PutRolePermissionsBoundary have the
// new one.
var onBoundary = []string{"AttachRolePolicy", "DeleteRole", "DeleteRolePermissionsBoundary", "DeleteRolePolicy", "DetachRolePolicy", "PutRolePolicy", "UpdateAssumeRolePolicy"}

func boundaryOf(c *fakeaws.Call, role string) string {
	out, err := iam.NewFromConfig(c.Moto()).GetRole(c.Context(), &iam.GetRoleInput{RoleName: &role})
	if err != nil || out.Role.PermissionsBoundary == nil {
		return ""
	}
	return aws.ToString(out.Role.PermissionsBoundary.PermissionsBoundaryArn)
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
