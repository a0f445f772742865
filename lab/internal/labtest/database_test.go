//go:build linux

package labtest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/cluster"
)

//go:embed testdata/writer.py
var writer string

func TestVPNAndDatabases(t *testing.T) {
	drill(t)
	c := newCluster(t)
	c.untilReplicated(time.Minute)
	c.checkVPN()
	c.checkAttackOnEtcd()
	c.checkCertificatesAreFollowed()
	c.checkRowsReachTheReplica()
	c.checkPowerCutOfThePrimary()
	c.checkManagementIsReplaced()
	c.checkDatabasesAreReplaced()
	c.checkEtcdIsAway()
}

// sql runs a statement on app1, through a port of management, as applications do.
func (c *livingCluster) sql(port int, statement string) (string, error) {
	return c.try("shell", "app1", "--", "sh", "-c", `. /run/xeroops/applications.env
export PGPASSWORD="$POSTGRES_APP_PASSWORD"
python3 -c 'import psycopg, sys
with psycopg.connect(host="management", port=sys.argv[1], user="app", dbname="app", connect_timeout=2, prepare_threshold=None) as c:
    r = c.execute(sys.argv[2])
    print(*(r.fetchone() if r.description else ["done"]))' "$1" "$2"`, "sh", fmt.Sprint(port), statement)
}

func (c *livingCluster) mustSQL(port int, statement string) string {
	c.t.Helper()
	out, err := c.sql(port, statement)
	if err != nil {
		c.t.Fatalf("%s: %v: %s", statement, err, out)
	}
	return strings.TrimSpace(out)
}

// member is a member of Patroni's cluster.
type member struct {
	Name     string
	Role     string
	State    string
	Timeline int
}

// databases returns the members as reported by Patroni on a database node.
func (c *livingCluster) databases() []member {
	var cluster struct{ Members []member }
	for _, node := range []string{"db1", "db2"} {
		out, err := c.try(append([]string{"shell", node, "--"}, patroni(node, "/cluster")...)...)
		if err == nil && json.Unmarshal([]byte(out), &cluster) == nil && len(cluster.Members) > 0 {
			break
		}
	}
	return cluster.Members
}

// untilReplicated waits until there is a primary and a synchronous replica.
func (c *livingCluster) untilReplicated(within time.Duration) time.Duration {
	c.t.Helper()
	return c.until("a primary and a synchronous replica", within, func() (bool, string) {
		all := c.databases()
		return len(all) == 2 && slices.ContainsFunc(all, func(m member) bool { return m.Role == "leader" && m.State == "running" }) &&
			slices.ContainsFunc(all, func(m member) bool {
				return m.Role == "sync_standby" && m.State == "streaming" && m.Timeline == max(all[0].Timeline, all[1].Timeline)
			}), fmt.Sprintf("%+v", all)
	})
}

func (c *livingCluster) checkRowsReachTheReplica() {
	c.t.Helper()
	c.mustSQL(5432, "CREATE TABLE greeting (text text)")
	c.mustSQL(5432, "INSERT INTO greeting VALUES ('hello')")
	if got := c.mustSQL(5432, "SELECT text, pg_is_in_recovery() FROM greeting"); got != "hello False" {
		c.t.Errorf("the primary returns %q", got)
	}
	c.until("the replica has the row", 30*time.Second, func() (bool, string) {
		got, err := c.sql(5433, "SELECT text, pg_is_in_recovery() FROM greeting")
		return err == nil && strings.TrimSpace(got) == "hello True", got
	})
	if out, err := c.sql(5433, "INSERT INTO greeting VALUES ('no')"); err == nil {
		c.t.Errorf("the replica accepts writes: %s", out)
	}
}

// written is the output of testdata/writer.py.
type written struct {
	Acknowledged, Lost int
	GapSeconds         float64 `json:"gap_seconds"`
	Errors             map[string]int
}

// whileWriting calls do while an application writes rows for the given duration. It
// fails the test if an acknowledged row is lost.
func (c *livingCluster) whileWriting(duration time.Duration, what string, do func()) written {
	c.t.Helper()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	before := c.written()
	go func() {
		out, err := c.try("shell", "app1", "--", "sh", "-c", `. /run/xeroops/applications.env
export PGPASSWORD="$POSTGRES_APP_PASSWORD"
exec python3 -c "$1" "$2"`, "sh", writer, fmt.Sprint(duration.Seconds()))
		done <- result{out, err}
	}()
	c.until("rows are written", 30*time.Second, func() (bool, string) {
		now := c.written()
		return now > before+20, fmt.Sprint(now)
	})
	do()
	r := <-done
	if r.err != nil {
		c.t.Fatalf("writer: %v: %s", r.err, r.out)
	}
	var w written
	if err := json.Unmarshal([]byte(r.out), &w); err != nil {
		c.t.Fatalf("writer: %v: %s", err, r.out)
	}
	c.t.Logf("%s: %d rows acknowledged, %d lost, no writes for %.1f s", what, w.Acknowledged, w.Lost, w.GapSeconds)
	if w.Lost > 0 {
		c.t.Errorf("%s: %d acknowledged rows are lost", what, w.Lost)
	}
	return w
}

func (c *livingCluster) written() (rows int) {
	out, err := c.sql(5432, "SELECT coalesce(max(id), 0) FROM written")
	if err == nil {
		_, _ = fmt.Sscan(out, &rows)
	}
	return rows
}

// failoverSeconds is Patroni's ttl of 20 s, plus the time to detect that it has expired
// and to promote the replica on two cores.
const failoverSeconds = 30

// switchoverSeconds is for a planned switchover to a synchronous replica: it took 2 s
// on two busy cores, and 23 s if the replica had fallen behind.
const switchoverSeconds = 10

func (c *livingCluster) checkPowerCutOfThePrimary() {
	c.t.Helper()
	primary := c.primary()
	w := c.whileWriting(50*time.Second, "power cut of the primary", func() { c.run("fault", "power-cut", primary) })
	if w.GapSeconds > failoverSeconds {
		c.t.Errorf("failover took %.1f s", w.GapSeconds)
	}
	c.run("fault", "power-on", primary)
	c.t.Logf("the former primary is a replica %.1f s after power-on", c.untilReplicated(2*time.Minute).Seconds())
}

// checkManagementIsReplaced checks that etcd accepts the replaced node as a new member.
func (c *livingCluster) checkManagementIsReplaced() {
	c.t.Helper()
	before := c.instanceIDs()["management"]
	c.replace("management")
	if c.instanceIDs()["management"] == before {
		c.t.Fatal("management was not replaced")
	}
	c.untilReplicated(time.Minute)
	c.untilEtcdHasThreeMembers()
}

// replace makes Terraform replace nodes, by giving their instances another role's tag.
func (c *livingCluster) replace(nodes ...string) {
	c.t.Helper()
	ids := c.instanceIDs()
	for _, node := range nodes {
		_, err := c.ec2.CreateTags(c.t.Context(), &ec2.CreateTagsInput{Resources: []string{ids[node]},
			Tags: []types.Tag{{Key: aws.String(cluster.TagRole), Value: aws.String("former")}}})
		must(c.t, err)
	}
	c.apply()
}

func (c *livingCluster) untilEtcdHasThreeMembers() {
	c.t.Helper()
	c.until("etcd has three healthy members", 2*time.Minute, func() (bool, string) {
		out, err := c.try("shell", "db1", "--", "sh", "-c", etcdctl("endpoint", "health", "--cluster"))
		return err == nil && strings.Count(out, "is healthy") == 3, out
	})
}

// checkDatabasesAreReplaced makes Terraform replace both database nodes. The data moves
// with the volumes, and writes pause for the switchovers only.
func (c *livingCluster) checkDatabasesAreReplaced() {
	c.t.Helper()
	before := c.instanceIDs()
	w := c.whileWriting(150*time.Second, "both databases are replaced", func() {
		c.replace("db1", "db2")
	})
	after := c.instanceIDs()
	if after["db1"] == before["db1"] || after["db2"] == before["db2"] {
		c.t.Errorf("instances before: %v, after: %v", before, after)
	}
	if w.GapSeconds > switchoverSeconds {
		c.t.Errorf("no writes for %.1f s, want at most %d", w.GapSeconds, switchoverSeconds)
	}
	c.untilReplicated(2 * time.Minute)
	c.untilEtcdHasThreeMembers()
}

// checkEtcdIsAway stops etcd's quorum. The primary keeps running, because all members
// confirm it (Patroni's failsafe mode).
func (c *livingCluster) checkEtcdIsAway() {
	c.t.Helper()
	replica := c.replica()
	w := c.whileWriting(50*time.Second, "etcd without a quorum for 40 s", func() {
		c.shell(replica, "systemctl stop etcd")
		c.shell("management", "systemctl stop etcd")
		c.observe(40 * time.Second)
		c.shell("management", "systemctl start --no-block etcd")
		c.shell(replica, "systemctl start etcd")
	})
	if w.GapSeconds > 5 {
		c.t.Errorf("no writes for %.1f s, want at most 5", w.GapSeconds)
	}
	c.untilReplicated(time.Minute)
}
