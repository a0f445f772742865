package fixups_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
)

func TestCreditsAndMonitoringOfAnInstanceCanBeSetAndChanged(t *testing.T) {
	f := newFixture(t, fixups.Options{PendingFor: time.Nanosecond})
	input := f.input("10.0.2.10")
	input.CreditSpecification = &types.CreditSpecificationRequest{CpuCredits: aws.String("standard")}
	out, err := f.ec2.RunInstances(ctx, input)
	f.ok(err)
	id := *out.Instances[0].InstanceId
	expect := func(credits string, monitoring types.MonitoringState) {
		t.Helper()
		specs, err := f.ec2.DescribeInstanceCreditSpecifications(ctx, &ec2.DescribeInstanceCreditSpecificationsInput{InstanceIds: []string{id}})
		f.ok(err)
		if got := aws.ToString(specs.InstanceCreditSpecifications[0].CpuCredits); got != credits {
			t.Errorf("credits %s, want %s", got, credits)
		}
		if got := f.instances()[0].Monitoring.State; got != monitoring {
			t.Errorf("monitoring %s, want %s", got, monitoring)
		}
	}
	expect("standard", types.MonitoringStateDisabled)
	_, err = f.ec2.ModifyInstanceCreditSpecification(ctx, &ec2.ModifyInstanceCreditSpecificationInput{
		InstanceCreditSpecifications: []types.InstanceCreditSpecificationRequest{{InstanceId: &id, CpuCredits: aws.String("unlimited")}}})
	f.ok(err)
	_, err = f.ec2.MonitorInstances(ctx, &ec2.MonitorInstancesInput{InstanceIds: []string{id}})
	f.ok(err)
	expect("unlimited", types.MonitoringStateEnabled)
	_, err = f.ec2.UnmonitorInstances(ctx, &ec2.UnmonitorInstancesInput{InstanceIds: []string{id}})
	f.ok(err)
	expect("unlimited", types.MonitoringStateDisabled)
}
