package iamrole

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/path"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// statement is a statement of an IAM policy.
type statement struct {
	Sid       string         `json:"Sid"`
	Effect    string         `json:"Effect"`
	Action    []string       `json:"Action"`
	Resource  []string       `json:"Resource"`
	Condition map[string]any `json:"Condition,omitempty"`
}

// maxPolicy is the maximum total length of an IAM role's inline policies in
// characters, not counting white space (IAM user guide, "IAM and AWS STS quotas").
const maxPolicy = 10240

// policy returns the inline policy of a role: access to the objects of
// docs/design.md#s3-layout that its nodes read and write, and nothing else.
func (r *Roles) policy(ctx context.Context, role model.Role) (string, error) {
	partition, err := r.client.Partition(ctx)
	if err != nil {
		return "", err
	}
	return policyDocument(r.spec, partition, role)
}

// CheckPolicies returns an error if a role's policy is too long for IAM. It
// needs no call: names that are not known yet only make a policy longer, and
// "aws" is the shortest partition.
func CheckPolicies(spec *clusterspec.Spec) error {
	for _, role := range spec.ManagedRoles() {
		if _, err := policyDocument(spec, "aws", role); err != nil {
			return err
		}
	}
	return nil
}

func policyDocument(spec *clusterspec.Spec, partition string, role model.Role) (string, error) {
	b := builder{arn: "arn:" + partition + ":s3:::", buckets: spec.Buckets, cluster: spec.Name, layout: spec.Layout()}
	nodes := spec.NodesOf(role)
	statements := append(b.common(role, nodes), b.forRole(role)...)
	document, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return "", err
	}
	if n := len(document); n > maxPolicy { // Marshal writes no white space
		return "", base.AtAttribute(path.Root("nodes"), fmt.Errorf("the policy of role %s for its %d nodes has %d characters, and IAM allows %d; "+
			"use fewer nodes of that role or shorter names, or set a profile of your own for the role in instance_profiles", role, len(nodes), n, maxPolicy))
	}
	return string(document), nil
}

// builder builds the statements of a cluster's policies.
type builder struct {
	arn     string // prefix of the ARNs of buckets
	buckets clusterspec.Buckets
	cluster string
	layout  model.Layout
}

func (b builder) upload(key string) string { return b.arn + b.buckets.Uploads + "/" + key }

func allow(sid string, resources []string, actions ...string) statement {
	return statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources}
}

// list allows listing the keys with a prefix. Without it, S3 answers 403 also
// for a key that does not exist.
func (b builder) list(sid, bucket, prefix string) statement {
	s := allow(sid, []string{b.arn + bucket}, "s3:ListBucket")
	s.Condition = map[string]any{"StringLike": map[string]any{"s3:prefix": []any{prefix, prefix + "*"}}}
	return s
}

// common returns what every node needs: to boot, write its boot report and ship
// logs.
func (b builder) common(role model.Role, nodes []clusterspec.Node) []statement {
	reads := []string{b.upload(b.layout.Topology()), b.upload(b.layout.Credentials(role))}
	var reports []string
	for _, n := range nodes {
		reads = append(reads, b.upload(b.layout.InstanceConfig(n.Name)))
		reports = append(reports, b.upload(b.layout.Report(n.Name)))
	}
	return []statement{
		allow("Boot", reads, "s3:GetObject"),
		allow("Report", reports, "s3:PutObject"),
		allow("ShipLogs", []string{b.arn + b.buckets.Logs + "/" + b.cluster + "/dt=*/role=" + string(role) + "/*"}, "s3:PutObject"),
	}
}

// forRole returns what the services of a role need.
func (b builder) forRole(role model.Role) []statement {
	switch role {
	case model.RoleLoadBalancer:
		return []statement{
			allow("ReadRules", []string{b.upload(b.layout.WAFRules() + "*")}, "s3:GetObject"),
			allow("KeepCertificates", []string{b.upload(b.layout.TLS() + "*")}, "s3:GetObject", "s3:PutObject"),
			b.list("ListRules", b.buckets.Uploads, b.layout.WAFRules()),
			b.list("ListCertificates", b.buckets.Uploads, b.layout.TLS()),
		}
	case model.RoleWireGuard:
		return []statement{
			allow("ReadPeers", []string{b.upload(b.layout.VPNPeers() + "*")}, "s3:GetObject"),
			b.list("ListPeers", b.buckets.Uploads, b.layout.VPNPeers()),
		}
	case model.RoleApp:
		return []statement{allow("ReadBundles", []string{b.upload(model.Wheels + "*")}, "s3:GetObject")}
	case model.RoleManagement:
		return []statement{
			allow("SearchLogs", []string{b.arn + b.buckets.Logs + "/" + b.cluster + "/*"}, "s3:GetObject"),
			b.list("ListLogs", b.buckets.Logs, b.cluster+"/"),
		}
	case model.RoleDB:
		return []statement{
			allow("Backup", []string{b.arn + b.buckets.WALG + "/" + b.cluster + "/*"}, "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
			allow("Dump", []string{b.arn + b.buckets.PGDump + "/" + b.cluster + "/*"}, "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"),
			b.list("ListBackups", b.buckets.WALG, b.cluster+"/"),
			b.list("ListDumps", b.buckets.PGDump, b.cluster+"/"),
		}
	}
	return nil
}
