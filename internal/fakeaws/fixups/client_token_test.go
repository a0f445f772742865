package fixups_test

import (
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

func TestTokenReturnsTheSameInstanceAfterLostResponsesAndInRaces(t *testing.T) {
	f := newFixture(t, fast)
	in := f.input("10.0.2.10")
	in.ClientToken = aws.String("app1-1")
	f.ok(f.front.Inject(fakeaws.Fault{Action: "RunInstances", Effect: fakeaws.DropAfter}))
	if _, err := f.ec2.RunInstances(ctx, in); err == nil {
		t.Fatal("the answer was not dropped")
	}
	var wait sync.WaitGroup
	ids := make([]string, 4)
	for i := range ids {
		wait.Go(func() {
			if out, err := f.ec2.RunInstances(ctx, in); err == nil {
				ids[i] = *out.Instances[0].InstanceId
			}
		})
	}
	wait.Wait()
	all := f.instances()
	if len(all) != 1 {
		t.Fatalf("%d instances, want 1", len(all))
	}
	for _, id := range ids {
		if id != *all[0].InstanceId {
			t.Errorf("a repeated call returned %q, want %q", id, *all[0].InstanceId)
		}
	}
	in.InstanceType = "t3.medium"
	_, err := f.ec2.RunInstances(ctx, in)
	f.refused(err, "IdempotentParameterMismatch")
}

func TestTokenReturnsTheCurrentStateOfTheInstance(t *testing.T) {
	f := newFixture(t, fast)
	in := f.input("10.0.2.10")
	in.ClientToken = aws.String("app1-1")
	out, err := f.ec2.RunInstances(ctx, in)
	f.ok(err)
	f.terminate(*out.Instances[0].InstanceId)
	out, err = f.ec2.RunInstances(ctx, in)
	f.ok(err)
	if got := out.Instances[0].State.Name; got != "terminated" {
		t.Errorf("state %s, want terminated", got)
	}
}

func TestTokenReturnsTheSameVolumeEndpointAndRouteTable(t *testing.T) {
	f := newFixture(t, fast)
	volume := &ec2.CreateVolumeInput{AvailabilityZone: aws.String(zone), Size: aws.Int32(5), ClientToken: aws.String("v")}
	endpoint := &ec2.CreateVpcEndpointInput{VpcId: f.vpc, ServiceName: aws.String("com.amazonaws.eu-west-1.s3"), ClientToken: aws.String("e")}
	v1, err := f.ec2.CreateVolume(ctx, volume)
	f.ok(err)
	v2, err := f.ec2.CreateVolume(ctx, volume)
	f.ok(err)
	e1, err := f.ec2.CreateVpcEndpoint(ctx, endpoint)
	f.ok(err)
	e2, err := f.ec2.CreateVpcEndpoint(ctx, endpoint)
	f.ok(err)
	table := &ec2.CreateRouteTableInput{VpcId: f.vpc, ClientToken: aws.String("r")}
	r1, err := f.ec2.CreateRouteTable(ctx, table)
	f.ok(err)
	r2, err := f.ec2.CreateRouteTable(ctx, table)
	f.ok(err)
	if *v1.VolumeId != *v2.VolumeId || *e1.VpcEndpoint.VpcEndpointId != *e2.VpcEndpoint.VpcEndpointId ||
		*r1.RouteTable.RouteTableId != *r2.RouteTable.RouteTableId {
		t.Error("a repeated call made a second one")
	}
}

func TestTokenOfAFailedCallCanBeUsedAgain(t *testing.T) {
	f := newFixture(t, fast)
	in := f.input("10.0.9.9")
	in.ClientToken = aws.String("app1-1")
	_, err := f.ec2.RunInstances(ctx, in)
	f.refused(err, "InvalidParameterValue")
	in.PrivateIpAddress = aws.String("10.0.2.9")
	_, err = f.ec2.RunInstances(ctx, in)
	f.ok(err)
}
