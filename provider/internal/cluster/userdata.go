package cluster

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/templates"
)

// userData renders a node's cloud-config (docs/design.md#user-data-and-boot), base64. It holds no
// secret, and nothing of other nodes but their addresses at launch.
func (w *work) userData(n nodeSpec) (string, error) {
	template, err := templates.UserData.ReadFile("user-data/cloud-config.yaml.tmpl")
	if err != nil {
		return "", err
	}
	env, err := envfile.Format(map[string]string{
		"HOSTNAME":               n.Name,
		"INSTANCE_ROLE":          string(n.Role),
		"STATIC_IP":              n.Address,
		"XEROOPS_CLUSTER":        w.spec.Name,
		"AWS_REGION":             w.Client.Region,
		"XEROOPS_UPLOADS_BUCKET": w.spec.Buckets.Uploads,
	})
	if err != nil {
		return "", err
	}
	// Names, not text/template: its reflection would keep every method of
	// every type in the binary.
	text := strings.NewReplacer(
		"{{ .Node }}", n.Name,
		"{{ .Cluster }}", w.spec.Name,
		"{{ .InstanceEnv }}", base64.StdEncoding.EncodeToString([]byte(env)),
		"{{ .Hosts }}", base64.StdEncoding.EncodeToString([]byte(w.hosts())),
	).Replace(string(template))
	return base64.StdEncoding.EncodeToString([]byte(text)), nil
}

// hosts is /etc/hosts at launch; the node keeps it in step with the topology.
func (w *work) hosts() string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
	for _, n := range w.spec.nodes() {
		fmt.Fprintf(&b, "%s %s.%s.internal %s\n", n.Address, n.Name, w.spec.Name, n.Name)
	}
	return b.String()
}
