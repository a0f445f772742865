//go:build linux

package labtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/load"
)

const (
	clusterName = "reference"
	// servicePath is the path of the sample service at the edge.
	servicePath = "/api/notes"
)

// livingCluster is the reference cluster in a lab, booted from the role images, with
// the sample service on its app nodes.
type livingCluster struct {
	*lab
	terraform *terraform
	images    map[cluster.Role]string
	xeroops   string // path of the xeroops command
	generator string // path of the load generator
	edge      string // public address of the edge
}

// newCluster boots the cluster without the sample service.
func newCluster(t *testing.T, vars ...string) *livingCluster {
	t.Helper()
	l := newLab(t)
	l.up()
	manifest := l.images()
	c := &livingCluster{lab: l, terraform: newTerraform(l), images: readManifest(t, manifest)}
	c.terraform.useImages(manifest)
	began := time.Now()
	c.apply(vars...)
	t.Logf("terraform apply until every node is ready: %.1f s", time.Since(began).Seconds())
	return c
}

// startCluster boots the cluster and deploys the sample service, as make up does.
func startCluster(t *testing.T) *livingCluster {
	t.Helper()
	c := newCluster(t)
	c.xeroops, c.generator = build(t, "cli", "xeroops"), build(t, "internal/testkit/load/generator", "generator")
	c.edge = strings.TrimSpace(c.terraform.run("output", "-raw", "edge_address"))
	began := time.Now()
	said := c.deploy(filepath.Join(root(t), "examples", "service"))
	t.Logf("deploy, %.1f s:\n%s", time.Since(began).Seconds(), said)
	c.servedBy(2*time.Minute, "app1", "app2")
	return c
}

// with returns the cluster for a subtest.
func (c *livingCluster) with(t *testing.T) *livingCluster {
	of := *c
	of.lab = c.lab.with(t)
	terraform := *c.terraform
	terraform.lab = of.lab
	of.terraform = &terraform
	return &of
}

// apply applies the cluster and waits for its nodes' boot reports.
func (c *livingCluster) apply(vars ...string) {
	c.t.Helper()
	c.terraform.apply(append([]string{"-var=name=" + clusterName, "-var=keep_data=false"}, vars...)...)
}

// curl returns a curl command, for the internet side, that fails on error statuses.
func (c *livingCluster) curl(path string, options ...string) string {
	return fmt.Sprintf("curl --silent --show-error --insecure --fail-with-body --max-time 10 %s https://%s%s", strings.Join(options, " "), c.edge, path)
}

// deploy runs xeroops deploy and returns its output.
func (c *livingCluster) deploy(dir string, options ...string) string {
	c.t.Helper()
	out, err := c.tryDeploy(dir, options...)
	if err != nil {
		c.t.Fatalf("xeroops deploy %s: %v\n%s", dir, err, out)
	}
	return out
}

// tryDeploy runs xeroops deploy with Debian's wheels: there may be no package index.
func (c *livingCluster) tryDeploy(dir string, options ...string) (string, error) {
	return c.operate(append([]string{"deploy", dir, "--wheelhouse=/usr/share/python-wheels"}, options...)...)
}

// operate runs the xeroops command.
func (c *livingCluster) operate(args ...string) (string, error) {
	via := fmt.Sprintf("%s connect --name=%s %%h %%p", c.binary, c.name)
	cmd := exec.CommandContext(c.t.Context(), c.xeroops, append(args, "--cluster="+clusterName, "--via="+via)...)
	cmd.Env = append(append(os.Environ(), c.env...), "PATH=/usr/bin:"+os.Getenv("PATH")) // prefer Debian's Python
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// uploads returns the name of the uploads bucket.
func (l *lab) uploads() string { return "uploads-" + moto.Account }

// underLoad requests path at a rate per second while do runs, and reports the results.
func (c *livingCluster) underLoad(path string, rate int, do func()) load.Report {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.binary, "exec", "--", c.generator, "-url=https://"+c.edge+path, "-rate="+strconv.Itoa(rate))
	cmd.Env = append(os.Environ(), cluster.EnvLabName+"="+c.name)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	running, err := cmd.StdinPipe()
	must(c.t, err)
	must(c.t, cmd.Start())
	do()
	must(c.t, running.Close())
	if err := cmd.Wait(); err != nil {
		c.t.Fatalf("load: %v: %s", err, problem.String())
	}
	var report load.Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		c.t.Fatalf("load: %v: %s%s", err, out.String(), problem.String())
	}
	return report
}

// instanceIDs returns the ids of running instances by node.
func (c *livingCluster) instanceIDs() map[string]string {
	c.t.Helper()
	ids := map[string]string{}
	for _, i := range c.status() {
		if i.State == "running" {
			ids[i.Node] = i.InstanceID
		}
	}
	return ids
}

// servedBy waits until each of the nodes has responded, and returns how long that took.
func (c *livingCluster) servedBy(within time.Duration, nodes ...string) time.Duration {
	c.t.Helper()
	return c.until(fmt.Sprintf("%v respond", nodes), within, func() (bool, string) {
		report := c.underLoad(servicePath+"/items", 20, func() { c.observe(time.Second) })
		return !slices.ContainsFunc(nodes, func(n string) bool { return report.Answers[n] == 0 }), fmt.Sprintf("%v %v", report.Answers, report)
	})
}
