package cluster

import (
	"strings"
	"testing"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

func TestTextOfABootReportIsEscapedAndLimited(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	services := make([]model.ServiceReport, 1000)
	services[0] = model.ServiceReport{Name: "redis\x1b[2J", State: "failed\nnode db1: boot state is ready", Detail: long}
	r := nodeReport{BootReport: parseReport(clusterspec.Node{Name: "app1", Role: model.RoleApp},
		model.BootReport{Node: "db1", Role: model.RoleDB, State: "failed\x1b]0;title\x07", Error: "first\nsecond\x1b[31m" + long, Services: services})}
	if r.Node != "app1" || r.Role != model.RoleApp {
		t.Errorf("the report is of node %s (%s)", r.Node, r.Role)
	}
	text := r.describe()
	if strings.ContainsAny(text, "\x1b\x07") || !strings.Contains(text, `first`+"\n"+`second\u001b[31m`) {
		t.Errorf("not escaped: %.200q", text)
	}
	if !strings.Contains(text, `redis\u001b[2J is failed node db1: boot state is ready xxx`) {
		t.Errorf("a service imitates a line: %.200q", text[strings.Index(text, "redis"):])
	}
	if limit := 3*maxReportText + maxReportServices*20; len(text) > limit {
		t.Errorf("the description has %d characters, want at most %d", len(text), limit)
	}
}

func TestAReportOfTheBootBeforeAStartDoesNotCount(t *testing.T) {
	c := newReportCache()
	if c.isFormerBoot("app1", "") {
		t.Error("without a start, a report counts as one of a former boot")
	}
	c.setFormerBoot("app1", "one")
	if !c.isFormerBoot("app1", "one") || c.isFormerBoot("app1", "two") || c.isFormerBoot("app2", "one") {
		t.Error("not exactly the report of the former boot is rejected")
	}
}
