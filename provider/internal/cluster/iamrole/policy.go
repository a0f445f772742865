package iamrole

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/xeroops/xeroops/internal/awsclient"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
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

// awsAccount is what the policies depend on besides the specification.
type awsAccount struct {
	partition, region, id string
	keys                  map[string]string // the customer's KMS key by bucket
}

// ec2Service returns the service principal of EC2.
func (a awsAccount) ec2Service() string { return "ec2." + awsclient.DNSSuffix(a.partition) }

// s3Services returns what kms:ViaService is when S3 uses a key in region.
func (a awsAccount) s3Services(region string) []string {
	services := []string{"s3." + region + "." + awsclient.DNSSuffix(awsclient.PartitionAWS)}
	if a.partition == awsclient.PartitionChina {
		services = append(services, "s3."+region+"."+awsclient.DNSSuffix(a.partition))
	}
	return services
}

// policies returns the role that a role's nodes get: its trust policy, and access
// to the objects of docs/design.md#s3-layout that the nodes read and write, and
// nothing else.
func (r *Roles) policies(ctx context.Context, of model.Role) (role, error) {
	partition, err := r.client.Partition(ctx)
	if err != nil {
		return role{}, err
	}
	id, err := r.client.AccountID(ctx)
	if err != nil {
		return role{}, err
	}
	a := awsAccount{partition: partition, region: r.client.Region, id: id, keys: r.keys}
	policy, err := policyDocument(r.spec, a, of)
	return role{trust: trustPolicy(a), policy: policy, boundary: r.spec.IAM.PermissionsBoundary, attached: r.spec.IAM.AdditionalPolicies[of]}, err
}

// trustPolicy lets EC2 instances, and nothing else, assume a role.
func trustPolicy(a awsAccount) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + a.ec2Service() + `"},"Action":"sts:AssumeRole"}]}`
}

// CheckPolicies returns an error if a role's policy is too long for IAM. It
// needs no call: what is not known yet only makes a policy longer.
func CheckPolicies(spec *clusterspec.Spec) error {
	for _, role := range spec.ManagedRoles() {
		if _, err := policyDocument(spec, awsAccount{partition: awsclient.PartitionAWS}, role); err != nil {
			return err
		}
	}
	return nil
}

func policyDocument(spec *clusterspec.Spec, a awsAccount, role model.Role) (string, error) {
	b := builder{arn: "arn:" + a.partition + ":s3:::", account: a, buckets: spec.Buckets, cluster: spec.Name, layout: spec.Layout()}
	nodes := spec.NodesOf(role)
	statements := slices.Concat(b.common(role, nodePatterns(spec, role)), b.forRole(role), b.useKeys(b.bucketsOf(role)...))
	document, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return "", err
	}
	if n := len(document); n > maxPolicy { // Marshal writes no white space
		return "", base.AtAttribute(path.Root("nodes"), fmt.Errorf("the policy of role %s for its %d nodes has %d characters, and IAM allows %d; "+
			"name the nodes of that role with a common prefix that nodes of other roles do not have, or set a profile of your own for the role in instance_profiles", role, len(nodes), n, maxPolicy))
	}
	return string(document), nil
}

// nodePatterns returns patterns that match the names of a role's nodes and of no
// other nodes, as few as possible: a policy that lists the names is too long for
// IAM from 58 nodes on. Nodes that a prefix tells apart from those of other roles
// share one pattern, "app*"; others are listed.
func nodePatterns(spec *clusterspec.Spec, role model.Role) []string {
	var others []string
	for _, n := range spec.SortedNodes() {
		if n.Role != role {
			others = append(others, n.Name)
		}
	}
	groups := map[string][]string{} // by the shortest prefix that no other node has
	for _, n := range spec.NodesOf(role) {
		length := 0
		for _, other := range others {
			length = max(length, len(commonPrefix(n.Name, other)))
		}
		key := n.Name[:min(length+1, len(n.Name))]
		if length == len(n.Name) { // another node's name begins with this one
			key = n.Name + "/"
		}
		groups[key] = append(groups[key], n.Name)
	}
	var patterns []string
	for _, names := range groups {
		pattern := names[0]
		if len(names) > 1 {
			for _, name := range names {
				pattern = commonPrefix(pattern, name)
			}
			pattern += "*"
		}
		patterns = append(patterns, pattern)
	}
	slices.Sort(patterns)
	return patterns
}

func commonPrefix(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// builder builds the statements of a cluster's policies.
type builder struct {
	arn     string // prefix of the ARNs of buckets
	account awsAccount
	buckets clusterspec.Buckets
	cluster string
	layout  model.Layout
}

// bucketsOf returns the buckets whose objects a role's nodes read or write.
func (b builder) bucketsOf(role model.Role) []string {
	buckets := []string{b.buckets.Uploads, b.buckets.Logs}
	if role == model.RoleDB {
		buckets = append(buckets, b.buckets.PGDump, b.buckets.WALG)
	}
	return buckets
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
func (b builder) common(role model.Role, nodes []string) []statement {
	reads := []string{b.upload(b.layout.Topology()), b.upload(b.layout.Credentials(role)), b.upload(b.layout.Certificates(role) + "*"),
		b.upload(b.layout.AuthorityBundle(string(pki.Nodes)))}
	if model.HasEtcd(role) {
		reads = append(reads, b.upload(b.layout.AuthorityBundle(string(pki.Etcd))))
	}
	var reports []string
	for _, n := range nodes {
		reads = append(reads, b.upload(b.layout.InstanceConfig(n)))
		reports = append(reports, b.upload(b.layout.Report(n)))
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
