package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/path"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
)

// statement is a statement of an IAM policy.
type statement struct {
	Sid       string         `json:"Sid"`
	Effect    string         `json:"Effect"`
	Action    []string       `json:"Action"`
	Resource  []string       `json:"Resource"`
	Condition map[string]any `json:"Condition,omitempty"`
}

// maxPolicy is how many characters the inline policies of an IAM role may have
// in sum, white space not counted (IAM user guide, "IAM and AWS STS quotas").
const maxPolicy = 10240

// policyFor is the policy of a role's nodes: the keys of docs/design.md#s3-layout that
// they read and write, and nothing else.
func (w *work) policyFor(ctx context.Context, role model.Role) (string, error) {
	partition, err := w.Client.Partition(ctx)
	if err != nil {
		return "", err
	}
	return w.policyIn(partition, role)
}

func (w *work) policyIn(partition string, role model.Role) (string, error) {
	p := policy{arn: "arn:" + partition + ":s3:::", buckets: w.spec.Buckets, cluster: w.spec.Name, layout: w.layout()}
	nodes := w.spec.nodesOf(role)
	statements := append(p.common(role, nodes), p.forRole(role)...)
	document, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return "", err
	}
	if n := len(document); n > maxPolicy { // Marshal writes no white space
		return "", base.AtAttribute(path.Root("nodes"), fmt.Errorf("the policy of role %s for its %d nodes has %d characters, and IAM allows %d; "+
			"have fewer nodes of that role or shorter names, or give the role a profile of your own in instance_profiles", role, len(nodes), n, maxPolicy))
	}
	return string(document), nil
}

type policy struct {
	arn     string
	buckets buckets
	cluster string
	layout  model.Layout
}

func (p policy) upload(key string) string { return p.arn + p.buckets.Uploads + "/" + key }

func allow(sid string, resources []string, actions ...string) statement {
	return statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources}
}

// list allows listing what begins with prefix. Without it S3 answers 403 for a
// key that does not exist, too.
func (p policy) list(sid, bucket, prefix string) statement {
	s := allow(sid, []string{p.arn + bucket}, "s3:ListBucket")
	s.Condition = map[string]any{"StringLike": map[string]any{"s3:prefix": []any{prefix, prefix + "*"}}}
	return s
}

// common is what every node does: boot, report, and ship its logs.
func (p policy) common(role model.Role, nodes []nodeSpec) []statement {
	reads := []string{p.upload(p.layout.Topology()), p.upload(p.layout.Credentials(role))}
	var reports []string
	for _, n := range nodes {
		reads = append(reads, p.upload(p.layout.InstanceConfig(n.Name)))
		reports = append(reports, p.upload(p.layout.Report(n.Name)))
	}
	return []statement{
		allow("Boot", reads, "s3:GetObject"),
		allow("Report", reports, "s3:PutObject"),
		allow("ShipLogs", []string{p.arn + p.buckets.Logs + "/" + p.cluster + "/dt=*/role=" + string(role) + "/*"}, "s3:PutObject"),
	}
}

// forRole is what the role's own services do.
func (p policy) forRole(role model.Role) []statement {
	switch role {
	case model.RoleLoadBalancer:
		return []statement{
			allow("ReadRules", []string{p.upload(p.layout.WAFRules() + "*")}, "s3:GetObject"),
			allow("KeepCertificates", []string{p.upload(p.layout.TLS() + "*")}, "s3:GetObject", "s3:PutObject"),
			p.list("ListRules", p.buckets.Uploads, p.layout.WAFRules()),
			p.list("ListCertificates", p.buckets.Uploads, p.layout.TLS()),
		}
	case model.RoleWireGuard:
		return []statement{
			allow("ReadPeers", []string{p.upload(p.layout.VPNPeers() + "*")}, "s3:GetObject"),
			p.list("ListPeers", p.buckets.Uploads, p.layout.VPNPeers()),
		}
	case model.RoleApp:
		return []statement{allow("ReadBundles", []string{p.upload(model.Wheels + "*")}, "s3:GetObject")}
	case model.RoleManagement:
		return []statement{
			allow("SearchLogs", []string{p.arn + p.buckets.Logs + "/" + p.cluster + "/*"}, "s3:GetObject"),
			p.list("ListLogs", p.buckets.Logs, p.cluster+"/"),
		}
	case model.RoleDB:
		return []statement{
			allow("Backup", []string{p.arn + p.buckets.WALG + "/" + p.cluster + "/*"}, "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
			allow("Dump", []string{p.arn + p.buckets.PGDump + "/" + p.cluster + "/*"}, "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"),
			p.list("ListBackups", p.buckets.WALG, p.cluster+"/"),
			p.list("ListDumps", p.buckets.PGDump, p.cluster+"/"),
		}
	}
	return nil
}
