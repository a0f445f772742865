package main

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/cli/internal/publish"
	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

func TestReleasesAreUploadedAsBundlesAndOnlyOneHasAWrongSum(t *testing.T) {
	server := mototest.Start(t, moto.Options{})
	a := &access.Access{Bucket: "uploads-1", S3: s3.NewFromConfig(inventory.Config(server.URL, "eu-west-1"), func(o *s3.Options) { o.UsePathStyle = true })}
	if _, err := a.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &a.Bucket,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []fault{sound, importFails, unhealthy, wrongSum} {
		r := release{version: "1+" + string(f), wheels: 3, fault: f}
		if f == sound {
			r.version = "1"
		}
		sum, err := r.upload(t.Context(), a, registry.Python{Version: "3.13", Platform: "manylinux_2_41_x86_64"}, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		p, ok, err := publish.Find(t.Context(), a, application, r.version)
		if err != nil || !ok || p.SHA256 != sum || len(p.Manifest.Wheels) != r.wheels {
			t.Fatalf("%q: found %v, %v, %v; want %d wheels and sum %s", f, p, ok, err, r.wheels, sum)
		}
		wrong := 0
		for _, w := range p.Manifest.Wheels {
			content, err := a.Object(t.Context(), bundle.Key(application, r.version, w.File))
			if err != nil {
				t.Fatal(err)
			}
			if bundle.Sum(content) != w.SHA256 {
				wrong++
			}
		}
		if want := map[fault]int{wrongSum: 1}[f]; wrong != want {
			t.Errorf("%q: %d wheels do not have the manifest's sum, want %d", f, wrong, want)
		}
	}
	out, err := a.S3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &a.Bucket})
	if err != nil || aws.ToInt32(out.KeyCount) != 4*4 {
		t.Errorf("the bucket has %d objects, %v; want 4 bundles of 3 wheels and a manifest", aws.ToInt32(out.KeyCount), err)
	}
}

func TestDurationsAreSummarizedByPercentiles(t *testing.T) {
	var d durations
	for n := range 20 {
		d = append(d, time.Duration(20-n)*time.Second)
	}
	if got, want := d.String(), "n 20, p50 11.00 s, p95 19.00 s, max 20.00 s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheLoadEndsWithItsReport(t *testing.T) {
	stop, err := startLoad("sh -c 'cat; echo 12 of 12 requests succeeded'")
	if err != nil {
		t.Fatal(err)
	}
	if report, err := stop(); err != nil || report != "12 of 12 requests succeeded" {
		t.Errorf("got %q, %v", report, err)
	}
	if stop, err = startLoad("false"); err != nil {
		t.Fatal(err)
	}
	if _, err := stop(); err == nil || !strings.Contains(err.Error(), "load generator") {
		t.Errorf("got %v, want the load generator's failure", err)
	}
}
