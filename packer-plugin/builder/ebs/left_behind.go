package ebs

import (
	"fmt"
	"strings"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
)

// leftBehind returns a text for the user of a build that was not cleaned up: the
// commands that delete what the build knows to exist, in an order that works, and the
// tag of all of it.
func leftBehind(state multistep.StateBag) string {
	b := keyBuild.get(state)
	var commands []string
	add := func(region, format string, args ...any) {
		commands = append(commands, "  aws ec2 "+fmt.Sprintf(format, args...)+" --region "+region)
	}
	images := keyImages.get(state)
	for _, region := range b.regions() {
		i := images[region]
		if i == nil || i.id == "" {
			continue
		}
		if i.replaced {
			b.say("Keeping %s in %s, because the image that it replaces is deregistered", i.id, region)
			continue
		}
		add(region, "deregister-image --delete-associated-snapshots --image-id %s", i.id)
	}
	if id := keyInstanceID.get(state); id != "" {
		add(b.aws.Region, "terminate-instances --instance-ids %s", id)
		add(b.aws.Region, "wait instance-terminated --instance-ids %s", id)
	}
	if id := keySecurityGroupID.get(state); id != "" {
		add(b.aws.Region, "delete-security-group --group-id %s", id)
	}
	if pair := keyKeyPair.get(state); pair != nil {
		add(b.aws.Region, "delete-key-pair --key-name %s", pair.name)
	}
	text := fmt.Sprintf("Not cleaned up: resources with the tag %s = %s.", tagBuild, b.id)
	if len(commands) == 0 {
		return text
	}
	return text + " To delete them:\n" + strings.Join(commands, "\n")
}
