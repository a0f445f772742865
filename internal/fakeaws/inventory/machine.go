package inventory

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func machineLists(cfg aws.Config) []lister {
	c := ec2.NewFromConfig(cfg)
	return []lister{
		func(ctx context.Context) ([]Item, error) { return instances(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return interfaces(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return volumes(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return snapshots(ctx, c) },
		func(ctx context.Context) ([]Item, error) { return keyPairs(ctx, c) },
	}
}

func instances(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	pages := ec2.NewDescribeInstancesPaginator(c, &ec2.DescribeInstancesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				if i.State.Name == types.InstanceStateNameTerminated {
					continue
				}
				items = append(items, instance(i))
			}
		}
	}
	return items, nil
}

func instance(i types.Instance) Item {
	var groups, attached []string
	for _, n := range i.NetworkInterfaces {
		for _, g := range n.Groups {
			groups = append(groups, aws.ToString(g.GroupId))
		}
	}
	for _, d := range i.BlockDeviceMappings {
		if d.Ebs != nil && aws.ToString(d.DeviceName) != aws.ToString(i.RootDeviceName) {
			attached = append(attached, aws.ToString(d.DeviceName)+":"+aws.ToString(d.Ebs.VolumeId))
		}
	}
	profile := ""
	if i.IamInstanceProfile != nil {
		profile = aws.ToString(i.IamInstanceProfile.Arn)
	}
	return Item{Kind: "instance", ID: *i.InstanceId, Name: nameOf(i.Tags), Facts: facts(
		fact("state", i.State.Name), fact("type", i.InstanceType), fact("image", aws.ToString(i.ImageId)),
		fact("vpc", aws.ToString(i.VpcId)), fact("subnet", aws.ToString(i.SubnetId)), fact("address", aws.ToString(i.PrivateIpAddress)),
		listed("groups", groups), listed("volumes", attached), fact("profile", profile),
		fact("source-dest-check", aws.ToBool(i.SourceDestCheck)), tagFact(i.Tags))}
}

// interfaces lists network interfaces that were not created by the launch of an
// instance; those are deleted with the instance.
func interfaces(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	pages := ec2.NewDescribeNetworkInterfacesPaginator(c, &ec2.DescribeNetworkInterfacesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range page.NetworkInterfaces {
			if n.Attachment != nil && n.Attachment.InstanceId != nil {
				continue
			}
			items = append(items, Item{Kind: "network-interface", ID: *n.NetworkInterfaceId, Name: nameOf(n.TagSet), Facts: facts(
				fact("vpc", aws.ToString(n.VpcId)), fact("subnet", aws.ToString(n.SubnetId)), fact("address", aws.ToString(n.PrivateIpAddress)))})
		}
	}
	return items, nil
}

func volumes(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	pages := ec2.NewDescribeVolumesPaginator(c, &ec2.DescribeVolumesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Volumes {
			var attached []string
			for _, a := range v.Attachments {
				attached = append(attached, aws.ToString(a.InstanceId)+":"+aws.ToString(a.Device))
			}
			items = append(items, Item{Kind: "volume", ID: *v.VolumeId, Name: nameOf(v.Tags), Facts: facts(
				fact("type", v.VolumeType), fact("size", aws.ToInt32(v.Size)), fact("iops", aws.ToInt32(v.Iops)),
				fact("zone", aws.ToString(v.AvailabilityZone)), fact("encrypted", aws.ToBool(v.Encrypted)),
				listed("attached", attached), tagFact(v.Tags))})
		}
	}
	return items, nil
}

func snapshots(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	seeded, err := snapshotsOfImages(ctx, c)
	if err != nil {
		return nil, err
	}
	pages := ec2.NewDescribeSnapshotsPaginator(c, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Snapshots {
			if !seeded[*s.SnapshotId] {
				items = append(items, Item{Kind: "snapshot", ID: *s.SnapshotId, Name: nameOf(s.Tags), Facts: facts(
					fact("volume", aws.ToString(s.VolumeId)), fact("size", aws.ToInt32(s.VolumeSize)), tagFact(s.Tags))})
			}
		}
	}
	return items, nil
}

// snapshotsOfImages returns the snapshots of images, which are deleted with the
// image.
func snapshotsOfImages(ctx context.Context, c *ec2.Client) (map[string]bool, error) {
	ids := map[string]bool{}
	pages := ec2.NewDescribeImagesPaginator(c, &ec2.DescribeImagesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, i := range page.Images {
			for _, d := range i.BlockDeviceMappings {
				if d.Ebs != nil {
					ids[aws.ToString(d.Ebs.SnapshotId)] = true
				}
			}
		}
	}
	return ids, nil
}

func keyPairs(ctx context.Context, c *ec2.Client) (items []Item, err error) {
	out, err := c.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{})
	if err != nil {
		return nil, err
	}
	for _, k := range out.KeyPairs {
		items = append(items, Item{Kind: "key-pair", ID: aws.ToString(k.KeyPairId), Name: aws.ToString(k.KeyName)})
	}
	return items, nil
}
