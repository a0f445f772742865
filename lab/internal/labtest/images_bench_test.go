//go:build linux

package labtest

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/xeroops/xeroops/internal/cluster"
)

// BenchmarkRoleImagesFromAnEmptyCache measures make images with an empty cache, which
// includes downloading the base image and Debian packages, but not compiling.
//
//	go test ./lab/internal/labtest -run '^$' -bench RoleImages -benchtime 3x -timeout 1h
func BenchmarkRoleImagesFromAnEmptyCache(b *testing.B) {
	var all []time.Duration
	for b.Loop() {
		b.StopTimer()
		b.Setenv(cluster.EnvLabCache, b.TempDir())
		l := newLab(b)
		l.buildForImages()
		b.StartTimer()
		began := time.Now()
		l.up()
		l.bakeImages()
		all = append(all, time.Since(began))
		b.StopTimer()
		l.run("down")
		b.StartTimer()
	}
	b.ReportMetric(0, "ns/op")
	reportTimes(b, "images", all)
}

// BenchmarkRoleImagesFromAWarmCache measures make images with all images in the cache.
func BenchmarkRoleImagesFromAWarmCache(b *testing.B) {
	l := newLab(b)
	l.up()
	l.images()
	var all []time.Duration
	for b.Loop() {
		b.StopTimer()
		l.run("down")
		l.up()
		b.StartTimer()
		began := time.Now()
		l.bakeImages()
		all = append(all, time.Since(began))
	}
	b.ReportMetric(0, "ns/op")
	reportTimes(b, "images", all)
}

// BenchmarkRoleImagesBoot measures, for each role, the time from RunInstances until the
// machine reaches multi-user.target, and the size of its image.
func BenchmarkRoleImagesBoot(b *testing.B) {
	l := newLab(b)
	l.up()
	images := l.describeImages(readManifest(b, l.images()))
	for _, role := range cluster.Roles() {
		b.Run(string(role), func(b *testing.B) {
			var all []time.Duration
			for b.Loop() {
				began := time.Now()
				id := l.start(images[role].id)
				all = append(all, time.Since(began))
				b.StopTimer()
				l.end(id)
				b.StartTimer()
			}
			b.ReportMetric(0, "ns/op")
			reportTimes(b, "multi-user", all)
			b.ReportMetric(float64(l.layerBytes(images[role].id))/(1<<20), "MiB")
			packages, err := strconv.ParseFloat(images[role].tags["xeroops:packages"], 64)
			must(b, err)
			b.ReportMetric(packages, "packages")
		})
	}
}

// start launches an instance in the default VPC and waits until it has booted.
func (l *lab) start(image string) (id string) {
	l.t.Helper()
	out, err := l.ec2.RunInstances(l.t.Context(), &ec2.RunInstancesInput{
		ImageId: &image, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: types.InstanceTypeT3Small})
	must(l.t, err)
	id = *out.Instances[0].InstanceId
	l.untilState(id, "running")
	return id
}

func (l *lab) end(id string) {
	l.t.Helper()
	_, err := l.ec2.TerminateInstances(l.t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	must(l.t, err)
	l.until(id+" is gone", time.Minute, func() (bool, string) {
		i, there := l.instance(id)
		return !there, i.State
	})
}

// layerBytes returns the size of an image without the base image.
func (l *lab) layerBytes(image string) int64 {
	l.t.Helper()
	out, err := exec.Command("du", "--summarize", "--block-size=1", filepath.Join(l.config.StateDir(), "images", image)).Output()
	must(l.t, err)
	size, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	must(l.t, err)
	return size
}
