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

// TestTheClusterLives boots the reference cluster from the role images, deploys
// the sample service, and then does to it what it claims to survive. Its subtests
// are of one cluster, each leaves it whole.
func TestTheClusterLives(t *testing.T) {
	c := startCluster(t)
	for _, test := range []struct {
		name string
		run  func(*livingCluster)
	}{
		{"ARowIsWrittenAndReadThroughTheEdgeOnBothAppNodes", rowsThroughTheEdge},
		{"NoProcessOfOursTakes30MB", memoryOfOurs},
		{"AThirdAppNodeGetsTrafficAndNoOtherIsTouched", scaleToThree},
		{"WhatIsKilledComesBack", killUnderLoad},
		{"ABadVersionLeavesTheOldOneServing", badVersions},
		{"AnApplicationMovesToAnotherPort", anotherPort},
		{"AFullDiskStopsADeploymentAndNothingElse", fullDisk},
		{"ANodeThatWasDownGetsWhatItMissed", missedDeployment},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(c.with(t)) }) {
			break // the cluster may not be whole
		}
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
		c.t.Errorf("PostgreSQL has %s rows of the note", rows)
	}
}

// primary is the database node that takes writes.
func (c *livingCluster) primary() string {
	c.t.Helper()
	for _, node := range []string{"db1", "db2"} {
		if out, err := c.try("shell", node, "--", "curl", "--silent", "--fail", "--output", "/dev/null", "http://127.0.0.1:8008/primary"); err == nil {
			return node
		} else if out != "" {
			c.t.Log(node, out)
		}
	}
	c.t.Fatal("no database node is the primary")
	return ""
}

// maxMemoryKiB is what a process of xeroops-node may take: 30 MB.
const maxMemoryKiB = 30_000_000 / 1024

func memoryOfOurs(c *livingCluster) {
	for node := range c.instanceIDs() {
		for line := range strings.Lines(c.shell(node, "ps -C xeroops-node -o rss=,args=")) {
			fields := strings.Fields(line)
			kib, err := strconv.Atoi(fields[0])
			must(c.t, err)
			c.t.Logf("%s: %d KiB: %s", node, kib, strings.Join(fields[1:], " "))
			if kib > maxMemoryKiB {
				c.t.Errorf("%s: %s takes %d KiB, want at most %d", node, fields[2], kib, maxMemoryKiB)
			}
		}
	}
}

func scaleToThree(c *livingCluster) {
	before := c.instanceIDs()
	report := c.underLoad(servicePath+"/items", 20, func() { c.apply("-var=app_count=3") })
	c.t.Logf("while the third is made: %v", report)
	if report.Failed > 0 {
		c.t.Errorf("%d requests failed while a node was added", report.Failed)
	}
	c.t.Logf("traffic reaches it %.1f s after apply", c.servedBy(time.Minute, "app3").Seconds())
	after := c.instanceIDs()
	delete(after, "app3")
	if !maps.Equal(before, after) {
		c.t.Errorf("the instances were %v, and are %v", before, after)
	}
}

// killUnderLoad takes things away while the service is asked for 50 times a
// second, reads only, since only those may be sent twice.
func killUnderLoad(c *livingCluster) {
	for _, k := range []struct {
		what string
		kill func()
		mend func()
		lost int // requests that may fail
	}{
		{"an app node loses power", func() { c.run("fault", "power-cut", "app1") }, func() { c.run("fault", "power-on", "app1") }, 0},
		{"Redis is killed", c.killer("management", "redis-server.service"), nil, 0},
		{"discovery is killed", c.killer("app2", "xeroops-discovery.service"), nil, 0},
		{"routing is killed", c.killer("management", "xeroops-routing.service"), nil, 0},
		{"deployments is killed", c.killer("app2", "xeroops-deployments.service"), nil, 0},
		{"HAProxy is killed", c.killer("management", "haproxy.service"), nil, 250}, // it is the only one: 5 s of them
	} {
		report := c.underLoad(servicePath+"/items", 50, func() {
			c.hold(2 * time.Second)
			k.kill()
			c.hold(8 * time.Second)
			if k.mend != nil {
				k.mend()
				c.hold(5 * time.Second)
			}
		})
		c.t.Logf("%s: %v", k.what, report)
		if report.Failed > k.lost {
			c.t.Errorf("%s: %d of %d requests failed, want at most %d", k.what, report.Failed, report.Requests, k.lost)
		}
		c.whole()
	}
}

// hold lets the load go on for a while: what is looked for is what happens in it.
func (c *livingCluster) hold(d time.Duration) { <-time.After(d) }

// killer kills a unit's processes as the kernel would for lack of memory.
func (c *livingCluster) killer(node, unit string) func() {
	return func() { c.shell(node, "systemctl kill --signal=SIGKILL "+unit) }
}

// whole waits until both first app nodes serve, and every node says that it is ready.
func (c *livingCluster) whole() {
	c.t.Helper()
	c.servedBy(2*time.Minute, "app1", "app2")
	c.until("every node is ready", 2*time.Minute, func() (bool, string) {
		out, err := c.operate("status")
		return err == nil && !strings.Contains(out, "degraded"), out
	})
}

// variant copies the sample service as another version, with one file changed.
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
	// One whose wheel is not what the manifest says.
	dir := c.variant("1.1.3", func(main string) string { return main + "\n# changed\n" })
	c.onAppNodes("systemctl stop xeroops-deployments")
	out, err := c.tryDeploy(dir, "--timeout=1s")
	if err == nil {
		c.t.Errorf("with nobody to install it, deploy succeeded:\n%s", out)
	}
	c.spoil("notes", "1.1.3")
	c.onAppNodes("systemctl start xeroops-deployments")
	c.until("the wrong sum is noticed", time.Minute, func() (bool, string) {
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

// failsUnderLoad deploys what can't be deployed: it is told, and nobody else notices.
func (c *livingCluster) failsUnderLoad(what, says, dir string) {
	c.t.Helper()
	report := c.underLoad(servicePath+"/items", 50, func() {
		began := time.Now()
		out, err := c.tryDeploy(dir)
		if err == nil || !strings.Contains(out, says) {
			c.t.Errorf("deploy of what %s: %v\n%s", what, err, out)
		}
		c.t.Logf("what %s is refused in %.1f s", what, time.Since(began).Seconds())
	})
	if report.Failed > 0 {
		c.t.Errorf("deploying what %s: %v", what, report)
	}
	c.serves("1.0.0")
}

// spoil changes the content of a bundle's first wheel in the bucket.
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

// serves asks until the version, and for a while nothing else, answers.
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

// anotherPort deploys a version that listens elsewhere: the old one serves on until
// HAProxy has followed.
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
			c.until(node+" has left the old port", time.Minute, func() (bool, string) {
				out := c.shell(node, "ss --listening --tcp --numeric --no-header '( sport = :8000 or sport = :8042 )'")
				return !strings.Contains(out, ":8000 ") && strings.Contains(out, ":8042 "), out
			})
		}
		c.t.Logf("the old port is left after %.1f s", time.Since(began).Seconds())
	})
	c.t.Logf("to another port: %v", report)
	if report.Failed > 0 {
		c.t.Errorf("%d requests failed while an application moved to another port", report.Failed)
	}
	c.serves("1.1.4")
	if out, err := c.operate("rollback", "notes"); err != nil {
		c.t.Errorf("rollback: %v\n%s", err, out)
	}
	c.serves("1.0.0")
}

// fullDisk deploys while app2 has no room for another version, and while the last
// of it is taken in the middle. The disk is a small one of its own until app2
// boots again: the lab's machines have the host's.
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
		c.t.Logf("a disk that is full %s: %v", full.when, report)
		if report.Failed > 0 {
			c.t.Errorf("%d requests failed while a disk was full", report.Failed)
		}
		c.shell("app2", "rm "+fill)
		began := time.Now()
		c.serves(full.version)
		c.t.Logf("app2 serves it %.1f s after there is room again", time.Since(began).Seconds())
		running = full.version
	}
}

func missedDeployment(c *livingCluster) {
	c.run("fault", "power-cut", "app2")
	dir := c.variant("1.2.0", func(main string) string { return main + "\n# another\n" })
	out, err := c.tryDeploy(dir, "--timeout=90s")
	c.t.Logf("deploy with app2 away: %v\n%s", err, out)
	c.run("fault", "power-on", "app2")
	took := c.until("app2 serves what it missed", 2*time.Minute, func() (bool, string) {
		out, err := c.outside(c.curl(servicePath + "/items"))
		return err == nil && strings.Contains(out, `"node":"app2"`) && strings.Contains(out, `"version":"1.2.0"`), out
	})
	c.t.Logf("app2 serves what it missed %.1f s after power-on", took.Seconds())
	c.whole()
}
