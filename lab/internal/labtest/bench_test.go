//go:build linux

package labtest

import (
	"cmp"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkReferenceCluster applies examples/complete to an empty lab. It measures the
// time until Terraform has finished and until all seven machines have booted, and the
// memory (without page cache) and disk space that a machine uses. Run it on an idle
// host:
//
//	go test ./lab/internal/labtest -run '^$' -bench ReferenceCluster -benchtime 5x
func BenchmarkReferenceCluster(b *testing.B) {
	l := newLab(b)
	tf := newTerraform(l)
	var apply, multiUser []time.Duration
	var memory, disk []int64
	for b.Loop() {
		b.StopTimer()
		l.up()
		tf.forget()
		b.StartTimer()
		began := time.Now()
		tf.apply(unready)
		apply = append(apply, time.Since(began))
		l.untilAllReady(len(reference))
		multiUser = append(multiUser, time.Since(began))
		b.StopTimer()
		for _, n := range reference {
			l.shell(n.name, "cloud-init status --wait >/dev/null") // exclude the memory of cloud-init itself
		}
		for _, i := range l.status() {
			memory = append(memory, i.MemoryBytes)
			disk = append(disk, l.diskBytes(i.InstanceID))
		}
		l.run("down")
		b.StartTimer()
	}
	b.ReportMetric(0, "ns/op") // omits the default metric
	reportTimes(b, "apply", apply)
	reportTimes(b, "multi-user", multiUser)
	reportSizes(b, "memory", memory)
	reportSizes(b, "disk", disk)
	b.Logf("runs: %d, machines: %d", len(apply), len(memory))
}

// untilAllReady waits until the given number of machines have booted.
func (l *lab) untilAllReady(count int) {
	l.t.Helper()
	l.until("all machines at multi-user", 2*time.Minute, func() (bool, string) {
		ready := 0
		for _, i := range l.status() {
			if i.Ready {
				ready++
			}
		}
		return ready == count, strconv.Itoa(ready)
	})
}

// diskBytes returns the size of what a machine has written to its root disk.
func (l *lab) diskBytes(id string) int64 {
	l.t.Helper()
	out, err := exec.Command("du", "--summarize", "--block-size=1", filepath.Join(l.config.StateDir(), "machines", id)).Output()
	must(l.t, err)
	size, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	must(l.t, err)
	return size
}

func reportTimes(b *testing.B, what string, all []time.Duration) {
	median, largest := medianAndMax(all)
	b.ReportMetric(median.Seconds(), what+"-median-s")
	b.ReportMetric(largest.Seconds(), what+"-max-s")
}

func reportSizes(b *testing.B, what string, all []int64) {
	median, largest := medianAndMax(all)
	b.ReportMetric(float64(median)/(1<<20), what+"-median-MiB")
	b.ReportMetric(float64(largest)/(1<<20), what+"-max-MiB")
}

func medianAndMax[T cmp.Ordered](all []T) (median, largest T) {
	slices.Sort(all)
	return all[len(all)/2], all[len(all)-1]
}
