package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
)

// Modification is what a volume becomes. Nil keeps a value.
type Modification struct {
	Type                           ec2types.VolumeType
	SizeGiB, IOPS, ThroughputMiBps *int32
}

func (m *volumeModel) modification() Modification {
	return Modification{Type: m.volumeType(), SizeGiB: int32Of(m.SizeGiB), IOPS: int32Of(m.IOPS), ThroughputMiBps: int32Of(m.ThroughputMiBps)}
}

// Modify changes size, performance and type of a volume in place. A change is in effect
// once its state is optimizing (EBS user guide, "Monitor the progress of volume
// modifications").
func Modify(ctx context.Context, client *awsclient.EC2, id string, m Modification) error {
	_, err := client.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: &id, VolumeType: m.Type, Size: m.SizeGiB, Iops: m.IOPS, Throughput: m.ThroughputMiBps})
	if awswait.HasCode(err, "IncorrectModificationState", "VolumeModificationRateExceeded") {
		err = m.explainRate(ctx, client, id, err)
	}
	if err != nil {
		return err
	}
	return awswait.Until(ctx, awswait.DependencyRelease, func(ctx context.Context) (bool, string, error) {
		latest, err := latestModification(ctx, client, id)
		if err != nil || latest == nil {
			return false, "not started", err
		}
		switch latest.ModificationState {
		case ec2types.VolumeModificationStateOptimizing, ec2types.VolumeModificationStateCompleted:
			return true, "", nil
		case ec2types.VolumeModificationStateFailed:
			return false, "", fmt.Errorf("EBS failed to change the volume: %s", aws.ToString(latest.StatusMessage))
		default:
			return false, fmt.Sprintf("%s (%d%%)", latest.ModificationState, aws.ToInt64(latest.Progress)), nil
		}
	})
}

// latestModification returns the last modification of a volume, or nil.
func latestModification(ctx context.Context, client *awsclient.EC2, id string) (*ec2types.VolumeModification, error) {
	out, err := client.DescribeVolumesModifications(ctx, &ec2.DescribeVolumesModificationsInput{VolumeIds: []string{id}})
	if err != nil || len(out.VolumesModifications) == 0 {
		return nil, awswait.Ignore(err, awswait.IsNotFound)
	}
	return &out.VolumesModifications[len(out.VolumesModifications)-1], nil
}

// explainRate returns an error that says when the last modification began, or nil if
// it is this one: an earlier response was lost, or an earlier apply was interrupted.
func (m Modification) explainRate(ctx context.Context, client *awsclient.EC2, id string, refused error) error {
	latest, err := latestModification(ctx, client, id)
	if err == nil && latest != nil && m.isTargetOf(*latest) {
		return nil
	}
	last := "the volume was changed shortly before"
	if err == nil && latest != nil && latest.StartTime != nil {
		last = fmt.Sprintf("the last change began at %s and is %s (%d%%)", latest.StartTime.UTC().Format(time.RFC3339), latest.ModificationState, aws.ToInt64(latest.Progress))
	}
	return fmt.Errorf("EBS does not accept another change of this volume yet, because %s; it starts a change only after the previous one is complete, "+
		"at most four within 24 hours, and in some partitions one in six hours; the volume was not changed, so apply again later: %w", last, refused)
}

// isTargetOf reports whether a modification under way or complete results in this one.
func (m Modification) isTargetOf(latest ec2types.VolumeModification) bool {
	is := func(target, wanted *int32) bool { return wanted == nil || target != nil && *target == *wanted }
	return latest.ModificationState != ec2types.VolumeModificationStateFailed && latest.TargetVolumeType == m.Type &&
		is(latest.TargetSize, m.SizeGiB) && is(latest.TargetIops, m.IOPS) && is(latest.TargetThroughput, m.ThroughputMiBps)
}
