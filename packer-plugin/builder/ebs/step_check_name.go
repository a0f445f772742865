package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
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
	out, err := client.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{filter("name", i.name)}})
	if err != nil {
		return nil, err
	}
	if len(out.Images) == 0 {
		return i, nil
	}
	if !b.config.ForceDeregister {
		return nil, fmt.Errorf("ami_name %q is taken in %s by %s; choose another name or set force_deregister",
			i.name, region, aws.ToString(out.Images[0].ImageId))
	}
	i.former = &out.Images[0]
	i.name = temporaryName(i.name, b.id)
	return i, nil
}

// temporaryName returns the name of the new image until the former one is
// deregistered.
func temporaryName(name, id string) string {
	const longest = 128 // characters of an AMI's name, CreateImage's reference
	return name[:min(len(name), longest-len(id)-1)] + "-" + id
}
