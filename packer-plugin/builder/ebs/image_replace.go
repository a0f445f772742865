package ebs

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// replaceFormer gives the new image the name of the former one. A name can be
// neither shared nor changed, and the former image may go only when the new one
// is there: so the new image was made under a temporary name, and is copied
// within its region (which moves no data) once the former is deregistered.
func (b *build) replaceFormer(ctx context.Context) error {
	for _, region := range b.regions() {
		if i := b.images[region]; i.former != nil {
			if err := b.replace(ctx, i); err != nil {
				return fmt.Errorf("in %s: %w", region, err)
			}
		}
	}
	return nil
}

func (b *build) replace(ctx context.Context, i *image) error {
	former := aws.ToString(i.former.ImageId)
	b.say("Replacing %s in %s", former, i.region)
	if _, err := change(ctx, i.ec2.DeregisterImage, &ec2.DeregisterImageInput{ImageId: aws.String(former)}); err != nil {
		return fmt.Errorf("deregister the former image %s: %w", former, err)
	}
	i.replaced = true
	named := &image{ec2: i.ec2, region: i.region}
	var err error
	if named.id, err = b.copyImage(ctx, i, named, b.config.AMIName); err == nil {
		err = b.awaitImage(ctx, named)
	}
	if err != nil {
		return fmt.Errorf("the former image %s is deregistered, and the new one stays, as %s %q: copy it to %q: %w", former, i.id, i.name, b.config.AMIName, err)
	}
	temporary := *i
	i.id, i.name, i.snapshots = named.id, b.config.AMIName, named.snapshots
	if err := deregister(ctx, i.ec2, temporary.id, temporary.snapshots); err != nil {
		return err
	}
	if !b.config.ForceDeleteSnapshot {
		return nil
	}
	return deleteSnapshots(ctx, i.ec2, snapshotsOf(*i.former))
}
