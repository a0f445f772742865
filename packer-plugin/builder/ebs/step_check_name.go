package ebs

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/internal/awswait"
)

// stepCheckName checks in every region, before anything is created, that
// ami_name is free or may be replaced.
type stepCheckName struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepCheckName) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "check that ami_name is free", func(ctx context.Context, b *build) error {
		if b.config.SkipCreateAMI {
			return nil
		}
		images := map[string]*image{}
		for _, region := range b.regions() {
			i, err := s.check(ctx, b, region)
			if err != nil {
				return err
			}
			images[region] = i
		}
		keyImages.put(state, images)
		return nil
	})
}

func (s *stepCheckName) check(ctx context.Context, b *build, region string) (*image, error) {
	client := b.aws
	if region != b.aws.Region {
		var err error
		if client, err = b.config.Client(ctx, region); err != nil {
			return nil, err
		}
	}
	i := &image{ec2: client.EC2, region: region, name: b.config.AMIName}
	out, err := client.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{
		Owners: []string{"self"}, Filters: []types.Filter{filter("name", i.name)}, IncludeDisabled: aws.Bool(true)})
	if awswait.HasCode(err, "AuthFailure", "OptInRequired") && region != b.aws.Region {
		return nil, fmt.Errorf("in %s, which is in ami_regions: %w; enable the region for the account or remove it", region, err)
	}
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", region, err)
	}
	if len(out.Images) == 0 {
		return i, nil
	}
	if err := replaceable(i.name, region, out.Images[0], b.config.ForceDeregister); err != nil {
		return nil, err
	}
	i.former = &out.Images[0]
	i.name = temporaryName(i.name, b.id)
	return i, nil
}

// replaceable returns an error if the image that has the name may not be replaced.
func replaceable(name, region string, former types.Image, force bool) error {
	id := aws.ToString(former.ImageId)
	if !force {
		return fmt.Errorf("ami_name %q is taken in %s by %s; choose another name or set force_deregister (packer build -force)", name, region, id)
	}
	if strings.HasPrefix(aws.ToString(former.DeregistrationProtection), "enabled") {
		return fmt.Errorf("ami_name %q is taken in %s by %s, which is protected from deregistration; choose another name, or run: "+
			"aws ec2 disable-image-deregistration-protection --image-id %[3]s --region %[2]s", name, region, id)
	}
	return nil
}

// temporaryName returns the name of the new image until the former one is
// deregistered.
func temporaryName(name, id string) string {
	const longest = 128 // characters of an AMI's name, CreateImage's reference
	return name[:min(len(name), longest-len(id)-1)] + "-" + id
}
