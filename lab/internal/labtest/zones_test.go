//go:build linux

package labtest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
)

// TestZones checks what docs/guides/zones.md claims: a cluster goes from one zone to two
// and to three without losing an acknowledged row, and the loss of a zone costs a
// failover at most, or, for the first zone, everything but data.
func TestZones(t *testing.T) {
	drill(t)
	c := newCluster(t, zonesVariable(1))
	c.untilReplicated(time.Minute)
	c.checkMove(1, 2, "app2", "db2")
	c.checkZoneAway(2, 2)
	c.checkFirstOfTwoZonesLosesPower()
	c.checkMove(2, 3, "db1")
	c.checkZoneAway(3, 2)
	c.checkZoneAway(3, 3)
	c.checkFirstOfThreeZonesAway()
}

// zonesVariable is the argument with which Terraform uses the first zones of the
// region.
func zonesVariable(zones int) string {
	return fmt.Sprintf(`-var=availability_zones=["%s"]`, strings.Join([]string{"eu-west-1a", "eu-west-1b", "eu-west-1c"}[:zones], `","`))
}

// checkMove checks that more zones move the named nodes and no others.
func (c *livingCluster) checkMove(from, to int, moved ...string) {
	c.t.Helper()
	before := c.instanceIDs()
	c.whileWriting(150*time.Second, fmt.Sprintf("from %d zones to %d", from, to), func() { c.apply(zonesVariable(to)) })
	for node, id := range c.instanceIDs() {
		if isNew := id != before[node]; isNew != slices.Contains(moved, node) {
			c.t.Errorf("from %d zones to %d: %s is a new instance: %v", from, to, node, isNew)
		}
	}
	c.untilReplicated(2 * time.Minute)
	c.untilEtcdHasThreeMembers()
}

// zone has the nodes of one of several zones, counted from 1, and the ranges of the
// others.
func zone(zones, number int) (nodes, others []string) {
	plan := cluster.PlanAddresses(netip.MustParsePrefix(cluster.ReferenceVPC), cluster.ReferenceApps, cluster.ReferenceDBs, zones)
	for _, s := range plan.Subnets {
		if s.Zone != number-1 {
			others = append(others, s.CIDR.String())
			continue
		}
		for _, n := range plan.Nodes {
			if n.Subnet == s.Name {
				nodes = append(nodes, n.Name)
			}
		}
	}
	return nodes, others
}

// cutOff drops all packets between the nodes of a zone and other zones.
func (c *livingCluster) cutOff(zones, number int) {
	c.t.Helper()
	nodes, others := zone(zones, number)
	for _, node := range nodes {
		c.run(append([]string{"fault", "partition", node}, others...)...)
	}
}

// makePrimary makes a database node the primary.
func (c *livingCluster) makePrimary(node string) {
	c.t.Helper()
	if c.primary() != node {
		c.shell(node, "patronictl -c /etc/patroni/config.yml switchover --force --candidate "+node+" "+clusterName)
	}
	c.until(node+" is the primary", time.Minute, func() (bool, string) {
		return slices.ContainsFunc(c.databases(), func(m member) bool { return m.Name == node && m.Role == "leader" }), fmt.Sprintf("%+v", c.databases())
	})
	c.untilReplicated(time.Minute)
}

// checkZoneAway cuts a zone other than the first off, with the primary in it and with the
// replica.
func (c *livingCluster) checkZoneAway(zones, number int) {
	c.t.Helper()
	nodes, _ := zone(zones, number)
	inside := nodes[slices.IndexFunc(nodes, func(n string) bool { return strings.HasPrefix(n, "db") })]
	outside := map[string]string{"db1": "db2", "db2": "db1"}[inside]
	for _, primary := range []string{inside, outside} {
		c.makePrimary(primary)
		w := c.whileWriting(60*time.Second, fmt.Sprintf("zone %d of %d is away, %s is the primary", number, zones, primary), func() {
			c.cutOff(zones, number)
			c.observe(45 * time.Second)
			c.run("fault", "heal")
		})
		if w.GapSeconds > failoverSeconds {
			c.t.Errorf("no writes for %.1f s, want at most %d", w.GapSeconds, failoverSeconds)
		}
		c.t.Logf("both databases replicate %.1f s after the zone is back", c.untilReplicated(2*time.Minute).Seconds())
		c.untilEtcdHasThreeMembers()
	}
}

// psql runs a statement on a database node itself.
func (c *livingCluster) psql(node, statement string) (string, error) {
	return c.try("shell", node, "--", "runuser", "-u", "postgres", "--", "psql", "-XAtqc", statement, "app")
}

// checkFirstOfTwoZonesLosesPower checks that the node that is left accepts no write,
// since it has no quorum, and that all rows are there when the zone is back.
func (c *livingCluster) checkFirstOfTwoZonesLosesPower() {
	c.t.Helper()
	c.makePrimary("db1")
	before := c.mustSQL(5432, "SELECT count(*), max(id) FROM written")
	nodes, _ := zone(2, 1)
	for _, node := range nodes {
		c.run("fault", "power-cut", node)
	}
	c.observe(45 * time.Second)
	if out, err := c.psql("db2", "CREATE TABLE second_primary ()"); err == nil {
		c.t.Errorf("db2 accepts writes without a quorum: %s", out)
	}
	for _, node := range nodes {
		c.run("fault", "power-on", node)
	}
	// etcd had no quorum, so the members that Patroni lists may be those before the power cut.
	c.until("PostgreSQL replicates synchronously", 3*time.Minute, func() (bool, string) {
		replicas, err := c.psql("db1", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'")
		return err == nil && strings.TrimSpace(replicas) == "1", replicas
	})
	c.untilReplicated(time.Minute)
	c.untilEtcdHasThreeMembers()
	c.until("all rows are there", time.Minute, func() (bool, string) {
		after, err := c.sql(5432, "SELECT count(*), max(id) FROM written")
		return err == nil && strings.TrimSpace(after) == before, before + " before, now " + after
	})
}

// checkFirstOfThreeZonesAway checks that the databases in the other two keep a quorum, a
// primary and a synchronous replica. Nothing reaches them while management is away.
func (c *livingCluster) checkFirstOfThreeZonesAway() {
	c.t.Helper()
	primary := c.primary()
	c.cutOff(3, 1)
	c.observe(45 * time.Second)
	if out, err := c.psql(primary, "CREATE TABLE zone_away AS SELECT 1 AS row"); err != nil {
		c.t.Errorf("%s accepts no writes: %v: %s", primary, err, out)
	}
	c.untilReplicated(time.Minute)
	c.run("fault", "heal")
	c.untilEtcdHasThreeMembers()
	c.until("the row is there", time.Minute, func() (bool, string) {
		rows, err := c.psql(primary, "SELECT count(*) FROM zone_away")
		return err == nil && strings.TrimSpace(rows) == "1", rows
	})
}
