package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awswait"
)

// sweeper deletes what has the tag project.
type sweeper struct {
	ec2     *ec2.Client
	iam     *iam.Client
	s3      *s3.Client
	account string
	region  string
	out     io.Writer
}

func newSweeper(cfg aws.Config, account string, out io.Writer) *sweeper {
	return &sweeper{ec2: ec2.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg), account: account, region: cfg.Region, out: out,
		s3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = cfg.BaseEndpoint != nil })}
}

// sweep deletes everything, in the order in which AWS allows it. A failed step does not
// keep later ones from running.
func (s *sweeper) sweep(ctx context.Context) error {
	var failed []error
	for _, step := range []struct {
		what string
		run  func(context.Context) error
	}{
		{"instances", s.instances}, {"addresses", s.addresses}, {"volumes", s.volumes}, {"networks", s.networks},
		{"images", s.images}, {"snapshots", s.snapshots}, {"roles", s.roles}, {"buckets", s.buckets},
	} {
		if err := step.run(ctx); err != nil {
			failed = append(failed, fmt.Errorf("sweep %s: %w", step.what, err))
		}
	}
	return errors.Join(failed...)
}

// delete prints what is deleted, and deletes it once nothing uses it any more.
func (s *sweeper) delete(ctx context.Context, kind string, id *string, call func(context.Context) error) error {
	_, _ = fmt.Fprintf(s.out, "delete %s %s\n", kind, aws.ToString(id))
	_, err := awswait.Retry(ctx, awswait.DependencyRelease, awswait.IsInUse, func(ctx context.Context) (any, error) { return nil, call(ctx) })
	if err = awswait.Ignore(err, awswait.IsNotFound); err != nil {
		return fmt.Errorf("delete %s %s: %w", kind, aws.ToString(id), err)
	}
	return nil
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

// ours selects what a run created, and nothing of another cluster in the account.
func ours() []types.Filter { return []types.Filter{filter("tag:project", project)} }

func (s *sweeper) instances(ctx context.Context) error {
	live := append(ours(), filter("instance-state-name", "pending", "running", "stopping", "stopped", "shutting-down"))
	return awswait.Until(ctx, 20*time.Minute, func(ctx context.Context) (bool, string, error) {
		out, err := s.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: live})
		if err != nil {
			return false, "", err
		}
		var ids []string
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				ids = append(ids, aws.ToString(i.InstanceId))
			}
		}
		if len(ids) == 0 {
			return true, "", nil
		}
		_, _ = fmt.Fprintf(s.out, "terminate instances %v\n", ids)
		_, err = s.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
		return false, "terminating " + strings.Join(ids, ", "), err
	})
}

func (s *sweeper) addresses(ctx context.Context) error {
	out, err := s.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: ours()})
	if err != nil {
		return err
	}
	for _, a := range out.Addresses {
		err = errors.Join(err, s.delete(ctx, "address", a.AllocationId, func(ctx context.Context) error {
			_, err := s.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: a.AllocationId})
			return err
		}))
	}
	return err
}

func (s *sweeper) volumes(ctx context.Context) error {
	out, err := s.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: ours()})
	if err != nil {
		return err
	}
	for _, v := range out.Volumes {
		err = errors.Join(err, s.delete(ctx, "volume", v.VolumeId, func(ctx context.Context) error {
			_, err := s.ec2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: v.VolumeId})
			return err
		}))
	}
	return err
}

func (s *sweeper) images(ctx context.Context) error {
	out, err := s.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: ours()})
	if err != nil {
		return err
	}
	for _, i := range out.Images {
		err = errors.Join(err, s.delete(ctx, "image", i.ImageId, func(ctx context.Context) error {
			_, err := s.ec2.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: i.ImageId})
			return err
		}))
	}
	return err
}

func (s *sweeper) snapshots(ctx context.Context) error {
	out, err := s.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: ours()})
	if err != nil {
		return err
	}
	for _, snapshot := range out.Snapshots {
		err = errors.Join(err, s.delete(ctx, "snapshot", snapshot.SnapshotId, func(ctx context.Context) error {
			_, err := s.ec2.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: snapshot.SnapshotId})
			return err
		}))
	}
	return err
}
