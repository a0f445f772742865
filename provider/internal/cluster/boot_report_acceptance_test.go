package cluster_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	model "github.com/xeroops/xeroops/internal/cluster"
)

// putReport writes content as a node's boot report.
func (a *account) putReport(node, content string) {
	a.t.Helper()
	_, err := a.S3.PutObject(a.t.Context(), &s3.PutObjectInput{Bucket: &a.uploads, Key: aws.String(layout.Report(node)), Body: strings.NewReader(content)})
	a.must(err)
}

func TestABootReportThatCannotBeReadDoesNotBlockAPlan(t *testing.T) {
	a := newAccount(t)
	a.readiness = `ready_timeout = "60s"`
	a.nodesReport(allReady)
	status := func(want string) resource.TestCheckFunc {
		return resource.TestCheckResourceAttr(resourceName, "status", want)
	}
	report := func(node string) string { return a.object(layout.Report(node)) }
	var good string
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config(), Check: status("ready")},
		{PreConfig: func() { good = report("app1"); a.putReport("app1", "{\"state\": \"ready\x1b[2J") },
			RefreshState: true, ExpectNonEmptyPlan: true, Check: status("incomplete")},
		{PreConfig: func() { a.putReport("app1", strings.Repeat("[", 1<<20)) },
			RefreshState: true, ExpectNonEmptyPlan: true, Check: status("incomplete")},
		{PreConfig: func() {
			time.AfterFunc(2*time.Second, func() { a.putReport("app1", good) })
		}, Config: a.config(), Check: status("ready")},
	}})
}

// The report is younger than the skew that is allowed for clocks, so only its boot id
// shows that it is of the boot before.
func TestAStoppedNodeIsReadyOnlyAfterItsReportOfTheNewBoot(t *testing.T) {
	a := newAccount(t)
	a.readiness = `ready_timeout = "60s"`
	var second atomic.Bool // some node has reported a second boot
	booted := map[string]bool{}
	a.nodesReport(func(node string, _ ec2types.Instance) model.BootReport {
		if booted[node] {
			time.Sleep(5 * time.Second)
			second.Store(true)
		}
		booted[node] = true
		return model.BootReport{State: model.BootReady}
	})
	a.Test(resource.TestCase{Steps: []resource.TestStep{
		{Config: a.config()},
		{PreConfig: func() {
			_, err := a.EC2.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{a.ids()["app1"]}})
			a.must(err)
		}, Config: a.config(), Check: check(func() error {
			if !second.Load() {
				return errors.New("the apply ended before app1 reported its second boot")
			}
			return nil
		})},
	}})
}
