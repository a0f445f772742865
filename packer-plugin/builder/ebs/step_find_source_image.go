package ebs

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/internal/awsclient"
)

// debianOwner is the account that publishes Debian's images in the partition aws,
// see https://wiki.debian.org/Cloud/AmazonEC2Image. Debian publishes none in other
// partitions; images of that name there belong to resellers and strangers.
const debianOwner = "136693071363"

// stepFindSourceImage finds the image to start from: source_ami, the match of
// source_ami_filter, or else the newest Debian 13.
type stepFindSourceImage struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepFindSourceImage) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "find the source image", func(ctx context.Context, b *build) error {
		source, err := s.find(ctx, b)
		if err != nil {
			return err
		}
		b.say("Source image: %s (%s)", aws.ToString(source.ImageId), aws.ToString(source.Name))
		keySourceImage.put(state, source)
		return nil
	})
}

func (s *stepFindSourceImage) find(ctx context.Context, b *build) (types.Image, error) {
	if err := checkDefaultSource(ctx, b); err != nil {
		return types.Image{}, err
	}
	in, newest := sourceQuery(b.config)
	var found []types.Image
	pages := ec2.NewDescribeImagesPaginator(b.aws.EC2, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return types.Image{}, err
		}
		found = append(found, page.Images...)
	}
	if len(found) == 0 {
		return types.Image{}, fmt.Errorf("no image in %s matches source_ami_filter, owners %v, architecture %s", b.aws.Region, in.Owners, b.config.Architecture)
	}
	if len(found) > 1 && !newest {
		return types.Image{}, fmt.Errorf("%d images match source_ami_filter, for example %s and %s; narrow it or set most_recent = true",
			len(found), aws.ToString(found[0].ImageId), aws.ToString(found[1].ImageId))
	}
	source := slices.MaxFunc(found, func(a, b types.Image) int {
		return cmp.Or(cmp.Compare(aws.ToString(a.CreationDate), aws.ToString(b.CreationDate)), cmp.Compare(aws.ToString(a.Name), aws.ToString(b.Name)))
	})
	if source.RootDeviceType != types.DeviceTypeEbs {
		return source, fmt.Errorf("%s (%s) has root device type %s; this builder needs ebs", aws.ToString(source.ImageId), aws.ToString(source.Name), source.RootDeviceType)
	}
	return source, nil
}

// checkDefaultSource returns an error if the source image is Debian's and the
// account is in a partition where Debian publishes no images.
func checkDefaultSource(ctx context.Context, b *build) error {
	if b.config.SourceAMI != "" || len(b.config.SourceAMIFilter.Filters) > 0 {
		return nil
	}
	partition, err := b.aws.Partition(ctx)
	if err != nil || partition == awsclient.PartitionAWS {
		return err
	}
	return fmt.Errorf("the default source image is Debian's, which is published by account %s in the partition %s only, and %s is in %s; "+
		"set source_ami, or source_ami_filter with the owners whose Debian 13 images you trust", debianOwner, awsclient.PartitionAWS, b.aws.Region, partition)
}

func sourceQuery(c *Config) (in *ec2.DescribeImagesInput, newest bool) {
	if c.SourceAMI != "" {
		return &ec2.DescribeImagesInput{ImageIds: []string{c.SourceAMI}}, false
	}
	if len(c.SourceAMIFilter.Filters) > 0 {
		in := &ec2.DescribeImagesInput{Owners: c.SourceAMIFilter.Owners, Filters: filters(c.SourceAMIFilter.Filters)}
		return in, c.SourceAMIFilter.MostRecent
	}
	name := map[string]string{"x86_64": "debian-13-amd64-*", "arm64": "debian-13-arm64-*"}[c.Architecture]
	return &ec2.DescribeImagesInput{
		Owners:  []string{debianOwner},
		Filters: []types.Filter{filter("name", name), filter("architecture", c.Architecture), filter("state", "available")},
	}, true
}

func filters(configured map[string]string) []types.Filter {
	var list []types.Filter
	for name, value := range configured {
		list = append(list, filter(name, value))
	}
	return list
}
