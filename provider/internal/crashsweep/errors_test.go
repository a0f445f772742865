package crashsweep

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/xeroops/xeroops/internal/awscalls"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/tfcli"
)

// TestEveryRetriedErrorIsSurvived injects each retried error of the table of AWS
// calls that names no test of its own into the first calls of an apply, a repair and a
// destroy of the complete example. All must succeed, and each error must have occurred.
func TestEveryRetriedErrorIsSurvived(t *testing.T) {
	r := startRun(t, newSweep)
	faults := retriedErrors(t)
	for _, f := range faults {
		if err := r.account.Front.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	r.applyDriftAndRepair(t)
	occurred := map[string]int{}
	for _, c := range r.account.Front.Calls() {
		if c.Fault != "" {
			occurred[c.Service+":"+c.Action+" "+c.Fault]++
			occurred[c.Service+":* "+c.Fault]++
		}
	}
	for _, f := range faults {
		if name := fmt.Sprintf("%s:%s %s", f.Service, cmp.Or(f.Action, "*"), f.Code); occurred[name] == 0 {
			t.Errorf("%s did not occur: no apply or destroy of the example makes the call; name a test in %s that injects it", name, awscalls.TablePath)
		}
	}
	t.Logf("%d errors in %d calls", len(faults), len(r.account.Front.Calls()))
}

// startRun returns a run of the sweep that prepare returns, or skips the test if the host
// lacks Terraform or moto.
func startRun(t *testing.T, prepare func(*testing.T) *Sweep) *run {
	t.Helper()
	if _, err := tfcli.Find(); err != nil {
		t.Skip(err)
	}
	r, err := prepare(t).start(t.Context(), t.TempDir(), fixups.Options{})
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.account.Close)
	return r
}

// applyDriftAndRepair makes all the calls of the example: it applies, changes what an
// apply only sets if it differs, applies again, and destroys.
func (r *run) applyDriftAndRepair(t *testing.T) {
	t.Helper()
	if _, err := r.space.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.drift(t)
	if _, err := r.space.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.finish(t.Context()); err != nil {
		t.Error(err)
	}
}

// drift changes what an apply only sets if it differs.
func (r *run) drift(t *testing.T) {
	t.Helper()
	buckets := s3.NewFromConfig(r.account.Direct(), func(o *s3.Options) { o.UsePathStyle = true })
	bucket := aws.String("uploads-" + moto.Account)
	_, encryption := buckets.DeleteBucketEncryption(t.Context(), &s3.DeleteBucketEncryptionInput{Bucket: bucket})
	_, ownership := buckets.DeleteBucketOwnershipControls(t.Context(), &s3.DeleteBucketOwnershipControlsInput{Bucket: bucket})
	_, access := buckets.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: bucket})
	tags, err := buckets.GetBucketTagging(t.Context(), &s3.GetBucketTaggingInput{Bucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	for i := range tags.TagSet {
		if *tags.TagSet[i].Key == "project" {
			tags.TagSet[i].Value = aws.String("changed")
		}
	}
	_, tagging := buckets.PutBucketTagging(t.Context(), &s3.PutBucketTaggingInput{Bucket: bucket, Tagging: &s3types.Tagging{TagSet: tags.TagSet}})
	network := ec2.NewFromConfig(r.account.Direct())
	vpcs, err := network.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{
		Filters: []types.Filter{{Name: aws.String("tag-key"), Values: []string{"xeroops:managed-by"}}}})
	if err := errors.Join(encryption, ownership, access, tagging, err); err != nil {
		t.Fatal(err)
	}
	if _, err := network.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{*vpcs.Vpcs[0].VpcId},
		Tags: []types.Tag{{Key: aws.String("project"), Value: aws.String("changed")}}}); err != nil {
		t.Fatal(err)
	}
	groups, err := network.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{*vpcs.Vpcs[0].VpcId}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.SecurityGroups {
		extra := []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("192.0.2.0/24")}}}}
		_, in := network.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: extra})
		_, out := network.AuthorizeSecurityGroupEgress(t.Context(), &ec2.AuthorizeSecurityGroupEgressInput{GroupId: g.GroupId, IpPermissions: extra})
		if err := errors.Join(in, out); err != nil {
			t.Fatal(err)
		}
	}
}

// retriedErrors returns the errors to inject. Those of a single call are first, so
// that the errors that every call of a service may return do not take their calls.
func retriedErrors(t *testing.T) []fakeaws.Fault {
	t.Helper()
	table, err := awscalls.Load()
	if err != nil {
		t.Fatal(err)
	}
	var own, common []fakeaws.Fault
	for _, action := range slices.Sorted(maps.Keys(table)) {
		service, operation, _ := strings.Cut(action, ":")
		for _, e := range table[action].Errors {
			if !e.Retry || e.Test != "" {
				continue
			}
			f := fakeaws.Fault{Service: service, Action: operation, Effect: fakeaws.Fail, Code: e.Code, Status: e.Status,
				Message: cmp.Or(e.Message, "injected by the test")}
			if operation == "*" {
				f.Action = ""
				common = append(common, f)
			} else {
				own = append(own, f)
			}
		}
	}
	return append(own, common...)
}
