package cluster

import (
	"encoding/base64"
	"fmt"
	"strings"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
	"github.com/xeroops/xeroops/templates"
)

// maxUserData is EC2's limit of user data in bytes, before base64 (EC2 user guide,
// "Run commands when you launch an EC2 instance with user data input").
const maxUserData = 16 << 10

// userData returns a node's cloud-config (docs/design.md#user-data-and-boot), base64
// encoded. It contains no secret, and of other nodes only their addresses at launch; in
// a cluster of so many nodes that EC2 would refuse it, not even those: the node reads
// them from the topology before it starts any service.
func (op *operation) userData(n clusterspec.Node) (string, error) {
	text, err := op.cloudConfig(n, op.spec.SortedNodes())
	if err == nil && len(text) > maxUserData {
		text, err = op.cloudConfig(n, []clusterspec.Node{n})
	}
	return base64.StdEncoding.EncodeToString([]byte(text)), err
}

// cloudConfig renders a node's cloud-config, with the names of some nodes.
func (op *operation) cloudConfig(n clusterspec.Node, known []clusterspec.Node) (string, error) {
	template, err := templates.UserData.ReadFile("user-data/cloud-config.yaml.tmpl")
	if err != nil {
		return "", err
	}
	env, err := envfile.Format(map[string]string{
		model.EnvHostname:      n.Name,
		model.EnvRole:          string(n.Role),
		model.EnvAddress:       n.Address,
		model.EnvCluster:       op.spec.Name,
		model.EnvRegion:        op.Client.Region,
		model.EnvUploadsBucket: op.spec.Buckets.Uploads,
	})
	if err != nil {
		return "", err
	}
	// text/template uses reflection, which would keep every method of every
	// type in the binary.
	return strings.NewReplacer(
		"{{ .Node }}", n.Name,
		"{{ .Cluster }}", op.spec.Name,
		"{{ .InstanceEnv }}", base64.StdEncoding.EncodeToString([]byte(env)),
		"{{ .Hosts }}", base64.StdEncoding.EncodeToString([]byte(op.hosts(known))),
	).Replace(string(template)), nil
}

// hosts returns /etc/hosts at launch; the node then updates it from the topology.
func (op *operation) hosts(known []clusterspec.Node) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
	for _, n := range known {
		fmt.Fprintf(&b, "%s %s.%s.internal %s\n", n.Address, n.Name, op.spec.Name, n.Name)
	}
	return b.String()
}
