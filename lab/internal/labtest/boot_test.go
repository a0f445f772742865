//go:build linux

package labtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/cluster"
)

// TestBoot boots the reference cluster from the role images and checks how nodes boot
// when something is wrong. Its subtests share the cluster, and each leaves it healthy.
func TestBoot(t *testing.T) {
	drill(t)
	c := newCluster(t)
	c.logBootTimes()
	for _, test := range []struct {
		name string
		run  func(*livingCluster)
	}{
		{"SecondRunChangesNothing", bootAgain},
		{"UnfinishedConfigurationIsApplied", unfinishedConfiguration},
		{"ServiceErrorIsReported", brokenService},
		{"VolumeGrowsAfterAPowerCut", enlargedVolume},
		{"DamagedVolumeIsReportedAndNotFormatted", damagedVolume},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(c.with(t)) }) {
			break // the cluster may be unhealthy
		}
	}
}

// bootReport returns a node's boot report.
func (c *livingCluster) bootReport(node string) cluster.BootReport {
	c.t.Helper()
	return c.lab.bootReport(clusterName, node)
}

// bootReport returns the boot report of a cluster's node.
func (l *lab) bootReport(of, node string) cluster.BootReport {
	l.t.Helper()
	out, err := l.s3.GetObject(l.t.Context(), &s3.GetObjectInput{Bucket: aws.String(l.uploads()), Key: aws.String(cluster.Layout{Cluster: of}.Report(node))})
	must(l.t, err)
	defer func() { _ = out.Body.Close() }()
	var report cluster.BootReport
	must(l.t, json.NewDecoder(out.Body).Decode(&report))
	return report
}

// untilReport waits until a node's boot report satisfies wanted.
func (c *livingCluster) untilReport(node, what string, wanted func(cluster.BootReport) bool) cluster.BootReport {
	c.t.Helper()
	var report cluster.BootReport
	c.until(node+" reports "+what, 2*time.Minute, func() (bool, string) {
		report = c.bootReport(node)
		return wanted(report), fmt.Sprintf("%+v", report)
	})
	return report
}

// bootedWithoutErrors reports whether a node has booted without errors.
func bootedWithoutErrors(r cluster.BootReport) bool {
	return r.State == cluster.BootReady && r.Error == ""
}

// logBootTimes logs how long each node took from the first entry of its journal until
// it was ready.
func (c *livingCluster) logBootTimes() {
	for node := range c.instanceIDs() {
		report := c.bootReport(node)
		first := c.shell(node, `journalctl --boot --output=json --lines=+1 --no-pager | sed 's/.*"__REALTIME_TIMESTAMP":"\([0-9]*\)".*/\1/'`)
		var micros int64
		_, err := fmt.Sscan(first, &micros)
		must(c.t, err)
		c.t.Logf("%s (%s): ready %.1f s after power-on, %.1f s of them boot", node, report.Role,
			report.ReadyAt.Sub(time.UnixMicro(micros)).Seconds(), report.ReadyAt.Sub(report.StartedAt).Seconds())
	}
}

func bootAgain(c *livingCluster) {
	for _, node := range []string{"app1", "db1", "management"} {
		const script = `systemctl show --property=Id,MainPID,ActiveEnterTimestampMonotonic 'redis*' 'haproxy*' 'etcd*' 'patroni*' 'pgbouncer*' 'xeroops-*'
md5sum /etc/environment /etc/hosts`
		before, was := c.shell(node, script), c.bootReport(node)
		c.shell(node, "systemctl restart infrastructure-ready")
		now := c.untilReport(node, "ready again", func(r cluster.BootReport) bool { return bootedWithoutErrors(r) && r.StartedAt.After(was.StartedAt) })
		if now.BootID != was.BootID || now.InstanceID != was.InstanceID {
			c.t.Errorf("%s: was %+v, is %+v", node, was, now)
		}
		if after := c.shell(node, script); after != before {
			c.t.Errorf("%s: before\n%s\nafter\n%s", node, before, after)
		}
	}
}

// unfinishedConfiguration simulates a boot that ended after writing a service's configuration
// and before reloading the service.
func unfinishedConfiguration(c *livingCluster) {
	const state = "systemctl show --value --property=StateChangeTimestampMonotonic nginx"
	before := c.shell("edge", state)
	c.shell("edge", "echo nginx.service >/run/xeroops/changed-units; systemctl restart infrastructure-ready")
	c.until("nginx has been reloaded", time.Minute, func() (bool, string) {
		now := c.shell("edge", state+"; cat /run/xeroops/changed-units")
		return now != before && !strings.Contains(now, "nginx"), now
	})
	c.untilReport("edge", "ready", bootedWithoutErrors)
}

func brokenService(c *livingCluster) {
	c.shell("edge", "cp /etc/nginx/nginx.conf /root/; echo 'no_such_directive;' >>/etc/nginx/nginx.conf; systemctl restart nginx || true")
	c.untilReport("edge", "nginx's error", func(r cluster.BootReport) bool { return strings.Contains(r.Error, "no_such_directive") })
	c.shell("edge", "cp /root/nginx.conf /etc/nginx/nginx.conf")
	c.untilReport("edge", "ready", bootedWithoutErrors)
}

// replica returns the name of the replica's node.
func (c *livingCluster) replica() string {
	if c.primary() == "db1" {
		return "db2"
	}
	return "db1"
}

func enlargedVolume(c *livingCluster) {
	node := c.replica()
	was := c.bootReport(node)
	c.shell(node, "echo kept >/var/lib/postgresql/marker; sync")
	volume := c.shell(node, `. /etc/environment; echo "$XEROOPS_DATA_VOLUME"`)
	_, err := c.ec2.ModifyVolume(c.t.Context(), &ec2.ModifyVolumeInput{VolumeId: &volume, Size: aws.Int32(33)})
	must(c.t, err)
	c.run("fault", "power-cut", node)
	c.run("fault", "power-on", node)
	c.untilReport(node, "ready after the power cut", func(r cluster.BootReport) bool { return bootedWithoutErrors(r) && r.BootID != was.BootID })
	if got := c.shell(node, "cat /var/lib/postgresql/marker"); got != "kept" {
		c.t.Errorf("the marker says %q", got)
	}
	if size := c.shell(node, "df --block-size=G --output=size /var/lib/postgresql | tail -1"); strings.TrimSpace(size) != "33G" && strings.TrimSpace(size) != "32G" {
		c.t.Errorf("the file system has %s, the volume 33 GiB", size)
	}
}

func damagedVolume(c *livingCluster) {
	node := c.replica()
	const device = "$(readlink -f /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol*)"
	c.shell(node, "systemctl stop infrastructure-ready patroni pgbouncer var-lib-postgresql.mount")
	c.shell(node, "dd if="+device+" of=/root/head bs=1M count=1 status=none; dd if=/dev/zero of="+device+" bs=1M count=1 conv=fsync status=none")
	c.shell(node, "systemctl start infrastructure-ready")
	report := c.untilReport(node, "the damaged volume", func(r cluster.BootReport) bool { return strings.Contains(r.Error, "is not blank") })
	if report.State != cluster.BootBooting {
		c.t.Errorf("within the first five minutes, the report is %+v", report)
	}
	if found := c.shell(node, "systemctl is-active patroni; blkid --probe "+device+"; true"); found != "inactive" {
		c.t.Errorf("on a damaged volume: %s", found)
	}
	c.shell(node, "dd if=/root/head of="+device+" bs=1M conv=fsync status=none")
	c.untilReport(node, "ready", bootedWithoutErrors)
	if got := c.shell(node, "cat /var/lib/postgresql/marker"); got != "kept" {
		c.t.Errorf("the marker says %q", got)
	}
}
