//go:build linux

package labtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/bundle"
)

// TestTheClusterLives boots the reference cluster from the role images, deploys the
// sample service and injects failures. Its subtests share the cluster, and each
// leaves it healthy.
func TestTheClusterLives(t *testing.T) {
	c := startCluster(t)
	for _, test := range []struct {
		name string
		run  func(*livingCluster)
	}{
		{"NodesRunTheImageOfTheirRole", nodesOfRoleImages},
		{"RowsAreWrittenAndReadThroughTheEdgeOnBothAppNodes", rowsThroughTheEdge},
		{"XeroopsNodeUsesLessThan30MB", memoryOfNodeProcesses},
		{"ThirdAppNodeGetsTrafficWithoutChangingOthers", scaleToThree},
		{"KilledServicesAndNodesRecoverUnderLoad", killUnderLoad},
		{"BadVersionsLeaveTheOldOneServing", badVersions},
		{"ApplicationMovesToAnotherPort", anotherPort},
		{"FullDiskFailsADeploymentOnly", fullDisk},
		{"NodeThatWasDownGetsTheDeploymentItMissed", missedDeployment},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(c.with(t)) }) {
			break // the cluster may be unhealthy
		}
	}
}

// nodesOfRoleImages checks the machines that Terraform made from the role images.
func nodesOfRoleImages(c *livingCluster) {
	identities := map[string]string{}
	for _, n := range reference {
		checkRole(c.lab, n, c.images[n.role], identities)
	}
}

func rowsThroughTheEdge(c *livingCluster) {
	out, err := c.outside(c.curl(servicePath+"/items", "-H 'Content-Type: application/json'", `-d '{"text":"written by a test"}'`))
	if err != nil || !strings.Contains(out, `"position"`) {
		c.t.Fatalf("write a note: %v: %s", err, out)
	}
	for _, node := range []string{"app1", "app2"} {
		c.until(node+" reads the row", 30*time.Second, func() (bool, string) {
			out, err := c.outside(c.curl(servicePath + "/items"))
			return err == nil && strings.Contains(out, "written by a test") && strings.Contains(out, fmt.Sprintf("%q", node)), out
		})
	}
	rows := c.shell(c.primary(), "runuser -u postgres -- psql -Atc \"SELECT count(*) FROM notes WHERE text = 'written by a test'\" app")
	if rows != "1" {
		c.t.Errorf("PostgreSQL has %s rows of the note, want 1", rows)
	}
}

// primary returns the name of the primary database node.
func (c *livingCluster) primary() string {
	c.t.Helper()
	for _, node := range []string{"db1", "db2"} {
		if out, err := c.try(append([]string{"shell", node, "--"}, patroni(node, "/primary")...)...); err == nil {
			return node
		} else if out != "" {
			c.t.Log(node, out)
		}
	}
	c.t.Fatal("no database node is the primary")
	return ""
}

// maxMemoryKiB limits the resident memory of a xeroops-node process: 30 MB.
const maxMemoryKiB = 30_000_000 / 1024

func memoryOfNodeProcesses(c *livingCluster) {
	for node := range c.instanceIDs() {
		for line := range strings.Lines(c.shell(node, "ps -C xeroops-node -o rss=,args=")) {
			fields := strings.Fields(line)
			kib, err := strconv.Atoi(fields[0])
			must(c.t, err)
			c.t.Logf("%s: %d KiB: %s", node, kib, strings.Join(fields[1:], " "))
			if kib > maxMemoryKiB {
				c.t.Errorf("%s: %s uses %d KiB, want at most %d", node, fields[2], kib, maxMemoryKiB)
			}
		}
	}
}

func scaleToThree(c *livingCluster) {
	before := c.instanceIDs()
	report := c.underLoad(servicePath+"/items", 20, func() { c.apply("-var=app_count=3") })
	c.t.Logf("while the node was added: %v", report)
	if report.Failed > 0 {
		c.t.Errorf("%d requests failed while a node was added", report.Failed)
	}
	c.t.Logf("traffic reaches it %.1f s after apply", c.servedBy(2*time.Minute, "app3").Seconds())
	after := c.instanceIDs()
	delete(after, "app3")
	if !maps.Equal(before, after) {
		c.t.Errorf("instances before: %v, after: %v", before, after)
	}
}

// killUnderLoad kills services and a node under 50 requests a second. These are reads,
// because only reads may be retried.
func killUnderLoad(c *livingCluster) {
	for _, k := range []struct {
		what      string
		kill      func()
		maxFailed int
	}{
		{"an app node loses power", func() {
			c.run("fault", "power-cut", "app1")
			c.observe(8 * time.Second)
			c.run("fault", "power-on", "app1")
			c.untilState("app1", "running")
		}, 0},
		{"services without requests are killed", func() {
			c.kill("management", "redis-server.service")
			c.kill("app2", "xeroops-discovery.service")
			c.kill("management", "xeroops-routing.service")
			c.kill("app2", "xeroops-deployments.service")
		}, 0},
		{"HAProxy is killed", func() { c.kill("management", "haproxy.service") }, 250}, // 5 s: there is only one
	} {
		report := c.underLoad(servicePath+"/items", 50, func() {
			c.observe(time.Second)
			k.kill()
			c.observe(3 * time.Second)
		})
		c.t.Logf("%s: %v", k.what, report)
		if report.Failed > k.maxFailed {
			c.t.Errorf("%s: %d of %d requests failed, want at most %d", k.what, report.Failed, report.Requests, k.maxFailed)
		}
		c.untilHealthy()
	}
}

// observe lets the load run for a while, to see the effects of a fault.
func (c *livingCluster) observe(d time.Duration) { <-time.After(d) }

// kill kills a unit's processes, as the OOM killer would, and waits until systemd has
// restarted the unit.
func (c *livingCluster) kill(node, unit string) {
	c.t.Helper()
	const state = "systemctl show --value --property=NRestarts --property=ActiveState "
	before := c.shell(node, state+unit)
	c.shell(node, "systemctl kill --signal=SIGKILL "+unit)
	c.until(unit+" has been restarted", time.Minute, func() (bool, string) {
		now := c.shell(node, state+unit)
		return now != before && strings.Contains(now, "active"), now
	})
	c.observe(2 * time.Second)
}

// untilHealthy waits until the first two app nodes serve and all nodes are ready.
func (c *livingCluster) untilHealthy() {
	c.t.Helper()
	c.servedBy(2*time.Minute, "app1", "app2")
	c.until("every node is ready", 2*time.Minute, func() (bool, string) {
		out, err := c.operate("status")
		return err == nil && !strings.Contains(out, "degraded"), out
	})
}

// variant copies the sample service with another version and a changed main.py, and
// returns the directory.
func (c *livingCluster) variant(version string, change func(main string) string) string {
	c.t.Helper()
	dir := c.t.TempDir()
	must(c.t, os.CopyFS(dir, os.DirFS(filepath.Join(root(c.t), "examples", "service"))))
	for path, edit := range map[string]func(string) string{
		"pyproject.toml":    func(s string) string { return strings.Replace(s, `version = "1.0.0"`, `version = "`+version+`"`, 1) },
		"src/notes/main.py": change,
	} {
		content, err := os.ReadFile(filepath.Join(dir, path))
		must(c.t, err)
		edited := edit(string(content))
		if edited == string(content) {
			c.t.Fatalf("%s was not changed", path)
		}
		must(c.t, os.WriteFile(filepath.Join(dir, path), []byte(edited), 0o600))
	}
	return dir
}

func badVersions(c *livingCluster) {
	for _, bad := range []struct{ what, version, says string }{
		{"fails to import", "1.1.1", "no_such_module"},
		{"is not healthy", "1.1.2", "health"},
	} {
		dir := c.variant(bad.version, func(main string) string {
			if bad.what == "fails to import" {
				return "import no_such_module\n" + main
			}
			return main + "\n\n@app.middleware(\"http\")\nasync def ill(request, call_next):\n    from fastapi.responses import Response\n    return Response(status_code=503)\n"
		})
		c.failsUnderLoad(bad.what, bad.says, dir)
	}
	// A wheel that does not have the manifest's checksum.
	dir := c.variant("1.1.3", func(main string) string { return main + "\n# changed\n" })
	c.onAppNodes("systemctl stop xeroops-deployments")
	out, err := c.tryDeploy(dir, "--timeout=1s")
	if err == nil {
		c.t.Errorf("deploy succeeded, and no node could install the version:\n%s", out)
	}
	c.spoil("notes", "1.1.3")
	c.onAppNodes("systemctl start xeroops-deployments")
	c.until("the wrong checksum is reported", 2*time.Minute, func() (bool, string) {
		out, err := c.operate("deployments", "notes")
		return err == nil && strings.Contains(out, "SHA-256"), out
	})
	if out, err := c.operate("rollback", "notes"); err != nil {
		c.t.Errorf("rollback: %v\n%s", err, out)
	}
	c.serves("1.0.0")
}

// onAppNodes runs a command on each app node.
func (c *livingCluster) onAppNodes(command string) {
	c.t.Helper()
	for node := range c.instanceIDs() {
		if strings.HasPrefix(node, "app") {
			c.shell(node, command)
		}
	}
}

// failsUnderLoad deploys a version that cannot run: deploy fails with an error that has
// the text says, and no request fails.
func (c *livingCluster) failsUnderLoad(what, says, dir string) {
	c.t.Helper()
	report := c.underLoad(servicePath+"/items", 50, func() {
		began := time.Now()
		out, err := c.tryDeploy(dir)
		if err == nil || !strings.Contains(out, says) {
			c.t.Errorf("deploy of a version that %s: %v\n%s", what, err, out)
		}
		c.t.Logf("deploy of a version that %s failed in %.1f s", what, time.Since(began).Seconds())
	})
	if report.Failed > 0 {
		c.t.Errorf("deploy of a version that %s: %v", what, report)
	}
	c.serves("1.0.0")
}

// spoil overwrites the first wheel of a bundle in the bucket.
func (c *livingCluster) spoil(application, version string) {
	c.t.Helper()
	bucket := c.uploads()
	listing, err := c.s3.ListObjectsV2(c.t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: aws.String(bundle.Prefix(application, version))})
	must(c.t, err)
	for _, o := range listing.Contents {
		if strings.HasSuffix(*o.Key, ".whl") {
			_, err := c.s3.PutObject(c.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: o.Key, Body: strings.NewReader("spoiled")})
			must(c.t, err)
			return
		}
	}
	c.t.Fatalf("%s %s has no wheel in bucket %s", application, version, bucket)
}

// serves waits until the version, and no other, responds to several requests in a row.
func (c *livingCluster) serves(version string) {
	c.t.Helper()
	c.until("version "+version+" answers", 2*time.Minute, func() (bool, string) {
		var answers []string
		for range 6 {
			out, err := c.outside(c.curl(servicePath + "/items"))
			if err != nil {
				return false, out
			}
			answers = append(answers, out)
		}
		return !slices.ContainsFunc(answers, func(a string) bool { return !strings.Contains(a, `"version":"`+version+`"`) }), fmt.Sprint(answers)
	})
}

// anotherPort deploys a version that listens on another port. The old one keeps serving
// until HAProxy uses the new port.
func anotherPort(c *livingCluster) {
	dir := c.variant("1.1.4", func(main string) string { return main + "\n# elsewhere\n" })
	project := filepath.Join(dir, "pyproject.toml")
	text, err := os.ReadFile(project)
	must(c.t, err)
	must(c.t, os.WriteFile(project, []byte(strings.Replace(string(text), "port = 8000", "port = 8042", 1)), 0o600))
	report := c.underLoad(servicePath+"/items", 50, func() {
		began := time.Now()
		c.deploy(dir)
		c.t.Logf("deployed on another port in %.1f s", time.Since(began).Seconds())
		for _, node := range []string{"app1", "app2"} {
			c.until(node+" has closed the old port", 2*time.Minute, func() (bool, string) {
				out := c.shell(node, "ss --listening --tcp --numeric --no-header '( sport = :8000 or sport = :8042 )'")
				return !strings.Contains(out, ":8000 ") && strings.Contains(out, ":8042 "), out
			})
		}
		c.t.Logf("old port closed after %.1f s", time.Since(began).Seconds())
	})
	c.t.Logf("while the port changed: %v", report)
	if report.Failed > 0 {
		c.t.Errorf("%d requests failed while the application's port changed", report.Failed)
	}
	c.serves("1.1.4")
	if out, err := c.operate("rollback", "notes"); err != nil {
		c.t.Errorf("rollback: %v\n%s", err, out)
	}
	c.serves("1.0.0")
}

// fullDisk deploys while app2's disk is full, and while it fills up. Since machines have
// the host's free space, a small tmpfs is mounted in place of the directory.
func fullDisk(c *livingCluster) {
	drill(c.t)
	const (
		disk = "/opt/xeroops/applications"
		fill = disk + "/fill"
	)
	c.shell("app2", "mkdir /run/disk && mount -t tmpfs -o size=256m disk /run/disk && cp -a "+disk+"/. /run/disk && mount --bind /run/disk "+disk)
	running := "1.0.0"
	for _, full := range []struct{ when, version, filler string }{
		{"before a deployment", "1.1.5", "fallocate -l $(( $(df --output=avail -B1 " + disk + " | tail -1) - 50 * 1024 * 1024 )) " + fill},
		{"in the middle of one", "1.1.6", "systemd-run sh -c 'until test -d " + disk + "/notes/1.1.6; do sleep 0.02; done; cat /dev/zero >" + fill + "'"},
	} {
		dir := c.variant(full.version, func(main string) string { return main + "\n# " + full.version + "\n" })
		c.shell("app2", full.filler)
		report := c.underLoad(servicePath+"/items", 50, func() {
			out, err := c.tryDeploy(dir)
			if err == nil || !strings.Contains(out, "app2 runs "+running+": ") || !strings.Contains(out, "disk: ") {
				c.t.Errorf("deploy with a disk that is full %s: %v\n%s", full.when, err, out)
			}
		})
		c.t.Logf("disk full %s: %v", full.when, report)
		if report.Failed > 0 {
			c.t.Errorf("%d requests failed while the disk was full", report.Failed)
		}
		c.shell("app2", "rm "+fill)
		began := time.Now()
		c.serves(full.version)
		c.t.Logf("app2 serves the version %.1f s after space was freed", time.Since(began).Seconds())
		running = full.version
	}
}

func missedDeployment(c *livingCluster) {
	c.run("fault", "power-cut", "app2")
	dir := c.variant("1.2.0", func(main string) string { return main + "\n# another\n" })
	out, err := c.tryDeploy(dir, "--timeout=5s") // app2 cannot confirm: deploy times out in any case
	c.t.Logf("deploy while app2 is off: %v\n%s", err, out)
	c.run("fault", "power-on", "app2")
	took := c.until("app2 serves the version it missed", 2*time.Minute, func() (bool, string) {
		out, err := c.outside(c.curl(servicePath + "/items"))
		return err == nil && strings.Contains(out, `"node":"app2"`) && strings.Contains(out, `"version":"1.2.0"`), out
	})
	c.t.Logf("app2 serves the version it missed %.1f s after power-on", took.Seconds())
	c.untilHealthy()
}
