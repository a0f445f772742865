package ebs

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// debianOwner publishes Debian's images, see
// https://wiki.debian.org/Cloud/AmazonEC2Image.
const debianOwner = "136693071363"

// findSource finds the image to start from: the one named, the one that the
// filter finds, or else Debian 13's newest.
func (b *build) findSource(ctx context.Context) error {
	in, newest := b.sourceQuery()
	var found []types.Image
	pages := ec2.NewDescribeImagesPaginator(b.aws.EC2, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		found = append(found, page.Images...)
	}
	if len(found) == 0 {
		return fmt.Errorf("no image in %s matches source_ami_filter, owners %v, architecture %s", b.aws.Region, in.Owners, b.config.Architecture)
	}
	if len(found) > 1 && !newest {
		return fmt.Errorf("%d images match source_ami_filter, %s and %s among them; narrow it, or set most_recent = true",
			len(found), aws.ToString(found[0].ImageId), aws.ToString(found[1].ImageId))
	}
	b.source = slices.MaxFunc(found, func(a, c types.Image) int {
		return cmp.Or(cmp.Compare(aws.ToString(a.CreationDate), aws.ToString(c.CreationDate)), cmp.Compare(aws.ToString(a.Name), aws.ToString(c.Name)))
	})
	if b.source.RootDeviceType != types.DeviceTypeEbs {
		return fmt.Errorf("%s (%s) has its root on %s; this builder needs EBS", aws.ToString(b.source.ImageId), aws.ToString(b.source.Name), b.source.RootDeviceType)
	}
	b.say("Source image: %s (%s)", aws.ToString(b.source.ImageId), aws.ToString(b.source.Name))
	return nil
}

func (b *build) sourceQuery() (in *ec2.DescribeImagesInput, newest bool) {
	c := b.config
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

func filters(given map[string]string) []types.Filter {
	var list []types.Filter
	for name, value := range given {
		list = append(list, filter(name, value))
	}
	return list
}
