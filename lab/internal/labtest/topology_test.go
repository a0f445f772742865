//go:build linux

package labtest

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/xeroops/xeroops/internal/cluster"
)

// node is one of the reference cluster (docs/design.md#reference-cluster).
type node struct {
	name    string
	role    cluster.Role
	address string
	volume  bool
}

var reference = referenceNodes()

func referenceNodes() (all []node) {
	for _, n := range cluster.ReferencePlan().Nodes {
		all = append(all, node{n.Name, n.Role, n.Address, n.Role == cluster.RoleDB})
	}
	return all
}

// metadata is a shell function that queries the metadata service with a token.
const metadata = `token=$(curl -sS -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
metadata() { curl -sS -H "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/$1"; }
`

// TestReferenceTopology applies examples/complete with base images and checks the
// machines. Its subtests depend on one another.
func TestReferenceTopology(t *testing.T) {
	l := sharedLab(t)
	tf := newTerraform(l)
	began := time.Now()
	tf.apply(unready)
	t.Logf("apply: %.1f s", time.Since(began).Seconds())
	for _, n := range reference {
		l.untilState(n.name, "running")
	}
	t.Logf("seven machines at multi-user: %.1f s after apply began", time.Since(began).Seconds())

	for _, n := range reference {
		t.Run(n.name, func(t *testing.T) { checkNode(l.with(t), n) })
	}
	t.Run("PrivateMachineReachesS3AndNothingElse", func(t *testing.T) { checkAirGap(l.with(t)) })
	t.Run("PublicMachineReachesTheDebianMirror", func(t *testing.T) {
		l.with(t).shell("edge", "apt-get -qq update && apt-cache show postgresql-17 >/dev/null")
	})
	t.Run("RoleCredentialsOpenWhatThePolicyNames", func(t *testing.T) { checkRoleCredentials(l.with(t)) })
	t.Run("PortMatrix", func(t *testing.T) { checkPortMatrix(l.with(t)) })
	t.Run("Partition", func(t *testing.T) { checkPartition(l.with(t)) })
	t.Run("PowerCut", func(t *testing.T) { checkPowerCut(l.with(t)) })
	t.Run("Freeze", func(t *testing.T) { checkFreeze(l.with(t)) })
	t.Run("SlowAndStalledDisk", func(t *testing.T) { checkDiskFaults(l.with(t)) })
	t.Run("Forward", func(t *testing.T) { checkForward(l.with(t)) })
	t.Run("Destroy", func(t *testing.T) {
		l := l.with(t)
		tf.lab = l
		tf.destroy()
		l.until("no machine is left", 30*time.Second, func() (bool, string) {
			all := l.status()
			return len(all) == 0, fmt.Sprint(all)
		})
	})
}

// with returns the lab for a subtest.
func (l *lab) with(t *testing.T) *lab {
	inner := *l
	inner.t = t
	return &inner
}

func checkNode(l *lab, n node) {
	i, _ := l.instance(n.name)
	if i.Address != n.address || i.Role != string(n.role) {
		l.t.Errorf("status: address %s and role %s, want %s and %s", i.Address, i.Role, n.address, n.role)
	}
	for what, c := range map[string]struct{ script, want string }{
		"address":          {"ip -4 -brief address show eth0 | tr -s ' ' | cut -d' ' -f3", n.address + "/24"},
		"host name":        {"hostname -f", n.name + ".production.internal"},
		"user-data's file": {`. /etc/xeroops/instance.env && echo "$HOSTNAME $INSTANCE_ROLE $STATIC_IP $XEROOPS_CLUSTER"`, n.name + " " + string(n.role) + " " + n.address + " production"},
		"metadata id":      {metadata + "metadata meta-data/instance-id", i.InstanceID},
		"metadata address": {metadata + "metadata meta-data/local-ipv4", n.address},
		"without a token":  {"curl -s -o /dev/null -w '%{http_code}' http://169.254.169.254/latest/meta-data/", "401"},
		"cloud-init":       {"cloud-init status | head -1", "status: done"},
		"failed units":     {"systemctl --failed --no-legend --plain", ""},
		"admin's login":    {"getent passwd admin | cut -d: -f6,7", "/home/admin:/bin/bash"},
	} {
		if got := l.shell(n.name, c.script); got != c.want {
			l.t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	var identity map[string]any
	if err := json.Unmarshal([]byte(l.shell(n.name, metadata+"metadata dynamic/instance-identity/document")), &identity); err != nil {
		l.t.Fatal(err)
	}
	if identity["instanceId"] != i.InstanceID || identity["privateIp"] != n.address || identity["imageId"] != i.ImageID {
		l.t.Errorf("identity document: %v", identity)
	}
	volumes := l.shell(n.name, "for d in /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol*; do test -b $d && blockdev --getsize64 $d; done; true")
	if n.volume != (volumes != "") {
		l.t.Errorf("volumes: %q, want one: %v", volumes, n.volume)
	}
}

func checkAirGap(l *lab) {
	for _, from := range []string{"app1", "management", "db1"} {
		// S3 itself rejects an unsigned request.
		if got := l.shell(from, "curl -s -m 5 -o /dev/null -w '%{http_code}' https://s3.eu-west-1.amazonaws.com/"); got != "403" {
			l.t.Errorf("%s to S3: status %s, want 403", from, got)
		}
		for _, target := range []string{"http://198.18.0.4/", "http://198.18.255.2/", "http://198.51.100.1/", "http://1.1.1.1/"} {
			if got := l.shell(from, "curl -s -m 1 "+target+"; echo $?"); got != "28" && got != "7" {
				l.t.Errorf("%s to %s: curl's exit code is %q, want a timeout", from, target, got)
			}
		}
		if got := l.shell(from, "getent ahostsv4 example.org; echo $?"); got != "2" {
			l.t.Errorf("%s resolves example.org: %q", from, got)
		}
	}
}

// signed is a shell function that sends S3 requests signed with the machine's role
// credentials and prints the HTTP status.
const signed = metadata + `role=$(metadata meta-data/iam/security-credentials/)
credentials=$(metadata meta-data/iam/security-credentials/$role)
field() { echo "$credentials" | python3 -c "import json,sys; print(json.load(sys.stdin)['$1'])"; }
s3() { curl -s -o /dev/null -w '%{http_code}' --aws-sigv4 aws:amz:eu-west-1:s3 --user "$(field AccessKeyId):$(field SecretAccessKey)" -H "x-amz-security-token: $(field Token)" "$@"; }
bucket=https://uploads-123456789012.s3.eu-west-1.amazonaws.com
`

func checkRoleCredentials(l *lab) {
	layout := cluster.Layout{Cluster: "production"}
	for _, c := range []struct{ node, request, want string }{
		{"db1", "$bucket/" + layout.InstanceConfig("db1"), "200"},
		{"db1", "$bucket/" + layout.Credentials(cluster.RoleDB), "200"},
		{"db1", "$bucket/" + layout.Credentials(cluster.RoleApp), "403"},
		{"app1", "$bucket/" + layout.Credentials(cluster.RoleApp), "200"},
		{"app1", "$bucket/" + layout.Credentials(cluster.RoleDB), "403"},
		{"app1", "-T /etc/hostname $bucket/" + layout.Report("app1"), "200"},
		{"app1", "-T /etc/hostname $bucket/" + layout.Report("db1"), "403"},
		{"edge", "-T /etc/hostname $bucket/" + layout.Topology(), "403"},
		{"edge", "$bucket/", "403"},
	} {
		if got := l.shell(c.node, signed+"s3 "+c.request); got != c.want {
			l.t.Errorf("%s requests %s: status %s, want %s", c.node, c.request, got, c.want)
		}
	}
	// What was written there is not a valid boot report.
	_, err := l.s3.DeleteObject(l.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("uploads-123456789012"), Key: aws.String(layout.Report("app1"))})
	if err != nil {
		l.t.Fatal(err)
	}
}

func checkForward(l *lab) {
	l.shell("edge", `systemd-run --quiet --unit=page --working-directory=/etc/xeroops python3 -m http.server 80`)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	must(l.t, err)
	defer taken.Close()
	if out, err := l.try("forward", "--https=", "--vpn=", "--http="+taken.Addr().String()); err == nil {
		l.t.Errorf("a forward listens on an address that is in use: %s", out)
	}
	out := l.run("forward", "--https=", "--vpn=", fmt.Sprintf("--http=127.0.0.1:%d", freePort(l.t)))
	address := strings.Fields(out)[1]
	if again := l.run("forward", "--https=", "--vpn="); again != out {
		l.t.Errorf("forward again: %s, want the same as before: %s", again, out)
	}
	if l, err := net.Listen("tcp4", "127.0.0.1:8443"); err == nil { // else another program uses it
		defer l.Close()
	}
	if out := l.run("forward", "--http=", "--vpn="); strings.Contains(out, ":8443 ") || !strings.Contains(out, " 127.0.0.1:") {
		l.t.Errorf("forward although the default port is taken: %s", out)
	}
	l.until("the edge's page on the host", 30*time.Second, func() (bool, string) {
		body, err := get("http://" + address + "/instance.env")
		return strings.Contains(body, `HOSTNAME="edge"`), fmt.Sprint(body, err)
	})
	l.shell("edge", "systemctl stop page")

	l.shell("gateway", `cat >/run/echo.py <<'EOF'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 51820))
while True:
    data, peer = s.recvfrom(1500)
    s.sendto(b"echo " + data, peer)
EOF
systemd-run --quiet --unit=echo python3 /run/echo.py`)
	address = fmt.Sprintf("127.0.0.1:%d", freePort(l.t))
	l.run("forward", "--https=", "--http=", "--vpn="+address)
	l.until("the gateway's echo on the host", 30*time.Second, func() (bool, string) {
		answer, err := exchange(address, "hello")
		return answer == "echo hello", fmt.Sprint(answer, err)
	})
	l.shell("gateway", "systemctl stop echo")
}

// exchange sends a datagram and returns the response.
func exchange(address, message string) (string, error) {
	c, err := net.Dial("udp4", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte(message)); err != nil {
		return "", err
	}
	buffer := make([]byte, 1500)
	n, err := c.Read(buffer)
	return string(buffer[:n]), err
}
