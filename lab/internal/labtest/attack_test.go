//go:build linux

package labtest

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/pki"
)

// attackOnEtcd is what a process on a node tries to run as postgres on the database nodes. Each
// attempt has to fail; it prints those that do not. $1 is the attacker's system user,
// $2 the options of a certificate that it holds, or nothing, and $3 the key that it writes.
const attackOnEtcd = `user=$1 identity=$2 key=$3
as() { runuser -u "$user" -- "$@" >/dev/null 2>&1; }
attack='{"postgresql":{"parameters":{"restore_command":"touch /tmp/owned"}}}'
test "$user" = root || for file in /run/xeroops/tls/*.pem; do
	grep -q "PRIVATE KEY" "$file" && as cat "$file" && echo "$user reads $file"
done
for node in management db1 db2; do
	# shellcheck disable=SC2086
	as etcdctl --endpoints "https://$node:2379" --insecure-skip-tls-verify --dial-timeout 2s --command-timeout 2s $identity put "$key" "$attack" && echo "$user writes to etcd of $node"
	as etcdctl --endpoints "http://$node:2379" --dial-timeout 2s --command-timeout 2s put "$key" "$attack" && echo "$user writes to etcd of $node without TLS"
	as curl -sfk --max-time 3 "https://$node:2380/members" && echo "$user is a peer of etcd on $node"
done
for node in db1 db2; do
	# shellcheck disable=SC2086
	as curl -sfk --max-time 3 $identity -X PATCH -d "$attack" "https://$node:8008/config" && echo "$user changes Patroni on $node"
	as curl -sf --max-time 3 -X PATCH -d "$attack" "http://$node:8008/config" && echo "$user changes Patroni on $node without TLS"
done
true`

// checkAttackOnEtcd is attack 2 of the audit: any process on management became superuser
// of PostgreSQL through etcd. Root on management remains a member of etcd, which
// docs/guides/security.md accepts, but cannot send Patroni unsafe requests.
func (c *livingCluster) checkAttackOnEtcd() {
	c.t.Helper()
	const key = "/xeroops/" + clusterName + "/config"
	attack := func(node, user, identity, key string) string {
		return c.shell(node, fmt.Sprintf("set -- %s '%s' %s\n%s", user, identity, key, attackOnEtcd))
	}
	config := func() string { return c.etcdctl("get", "--print-value-only", key) }
	before := config()
	for node, users := range map[string][]string{
		"management": {"nobody", "redis", "haproxy", "xeroops-routing", "xeroops-discovery"},
		"db1":        {"nobody", "xeroops-discovery"},
	} {
		for _, user := range users {
			if got := attack(node, user, "", key); got != "" {
				c.t.Errorf("on %s: %s", node, got)
			}
		}
	}
	// A certificate of management for all other services, which its role may read in S3.
	object := cluster.Layout{Cluster: clusterName}.Certificate(cluster.RoleManagement, "management")
	c.shell("management", "umask 077\nbase64 -d >/run/stolen.pem <<'EOF'\n"+base64.StdEncoding.EncodeToString(c.object(object))+"\nEOF")
	if got := attack("management", "root", "--cert /run/stolen.pem --key /run/stolen.pem", key); got != "" {
		c.t.Errorf("on management with its certificate of the authority %s: %s", pki.Nodes, got)
	}
	// The attempts work for whoever holds a member's certificate, as root does. It has no
	// password of Patroni's API.
	const member = "--cert /run/xeroops/tls/etcd.pem --key /run/xeroops/tls/etcd.pem"
	want := "root writes to etcd of management\nroot writes to etcd of db1\nroot writes to etcd of db2"
	if got := attack("management", "root", member, "/attack"); got != want {
		c.t.Errorf("with a member's certificate, %q, want %q", got, want)
	}
	c.etcdctl("del", "/attack")
	for _, node := range []string{"db1", "db2"} {
		got := c.shell("management", "curl -sk -o /dev/null -w '%{http_code}' "+member+" -X PATCH -d '{}' https://"+node+":8008/config")
		if got != "401" {
			c.t.Errorf("root on management gets %s from Patroni on %s, want 401", got, node)
		}
	}
	if after := config(); after != before {
		c.t.Errorf("the configuration in etcd was %s, and is %s", before, after)
	}
}

// checkCertificatesAreFollowed renews db1's certificate as an apply past half of its
// lifetime does. Patroni serves it without a restart.
func (c *livingCluster) checkCertificatesAreFollowed() {
	c.t.Helper()
	const serial = "openssl s_client -connect db1:8008 </dev/null 2>/dev/null | openssl x509 -noout -serial; systemctl show -p MainPID --value patroni etcd"
	before := c.shell("db1", serial)
	layout := cluster.Layout{Cluster: clusterName}
	authority, err := pki.ParseGenerations("authority", c.object(layout.Authority(string(pki.Nodes))))
	must(c.t, err)
	former, err := pki.ParseCertificate("certificate", c.object(layout.Certificate(cluster.RoleDB, "db1")))
	must(c.t, err)
	c.apply() // nothing is due
	if again := c.shell("db1", serial); again != before {
		c.t.Errorf("an apply that renewed nothing: before %q, after %q", before, again)
	}
	_, err = c.s3.DeleteObject(c.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(c.uploads()), Key: aws.String(layout.Certificate(cluster.RoleDB, "db1"))})
	must(c.t, err)
	c.apply()
	renewed, err := pki.ParseCertificate("certificate", c.object(layout.Certificate(cluster.RoleDB, "db1")))
	must(c.t, err)
	if renewed.AuthorityID() != authority.Newest().ID() || renewed.Leaf.SerialNumber.Cmp(former.Leaf.SerialNumber) == 0 {
		c.t.Fatal("the apply did not renew the certificate")
	}
	want := fmt.Sprintf("%X", renewed.Leaf.SerialNumber)
	took := c.until("Patroni serves the renewed certificate", 3*time.Minute, func() (bool, string) {
		out := c.shell("db1", serial)
		return strings.Contains(out, want), out
	})
	c.t.Logf("Patroni served the renewed certificate %.1f s after the apply", took.Seconds())
	_, processesBefore, _ := strings.Cut(before, "\n")
	if _, processes, _ := strings.Cut(c.shell("db1", serial), "\n"); processes != processesBefore {
		c.t.Errorf("processes were %q, and are %q", processesBefore, processes)
	}
	c.untilReport("db1", "its certificate", func(r cluster.BootReport) bool {
		return r.Certificates[string(pki.Nodes)].ExpiresAt.Equal(renewed.Leaf.NotAfter)
	})
}

// object returns the content of an object in the uploads bucket.
func (c *livingCluster) object(key string) []byte {
	c.t.Helper()
	out, err := c.s3.GetObject(c.t.Context(), &s3.GetObjectInput{Bucket: aws.String(c.uploads()), Key: &key})
	must(c.t, err)
	defer func() { _ = out.Body.Close() }()
	content, err := io.ReadAll(out.Body)
	must(c.t, err)
	return content
}

// etcdctl runs etcdctl on db1 as root, and returns its output.
func (c *livingCluster) etcdctl(args ...string) string {
	c.t.Helper()
	return c.shell("db1", etcdctl(args...))
}

func etcdctl(args ...string) string {
	return "etcdctl --endpoints https://db1:2379 --cacert /run/xeroops/tls/etcd-ca.pem --cert /run/xeroops/tls/etcd.pem --key /run/xeroops/tls/etcd.pem " + strings.Join(args, " ")
}

// patroni returns the curl command for a path of Patroni's API on the node that runs it.
func patroni(node, path string) []string {
	return []string{"curl", "--silent", "--show-error", "--fail", "--max-time", "3", "--cacert", "/run/xeroops/tls/ca.pem", "https://" + node + ":8008" + path}
}
