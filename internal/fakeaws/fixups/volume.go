package fixups

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// volume rejects the attachment of a volume that is attached (which corrupts moto's
// state) or in another zone, finds the instance of a detachment that names none
// (moto: HTTP 500), and rejects a smaller size.
func volume() fakeaws.Middleware {
	refusals := check(func(c *fakeaws.Call) (*refusal, error) {
		switch {
		case c.Is(fakeaws.EC2, "AttachVolume"):
			return refuseAttach(c)
		case c.Is(fakeaws.EC2, "ModifyVolume"):
			return refuseShrink(c)
		}
		return nil, nil
	})
	return func(next fakeaws.Handler) fakeaws.Handler {
		return refusals(func(c *fakeaws.Call) (*http.Response, error) {
			if !c.Is(fakeaws.EC2, "DetachVolume") || c.Params.Has("InstanceId") {
				return next(c)
			}
			return detach(c, next)
		})
	}
}

func describeVolume(c *fakeaws.Call) (types.Volume, error) {
	out, err := ec2Of(c).DescribeVolumes(c.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{c.Params.Get("VolumeId")}})
	if err != nil {
		return types.Volume{}, err
	}
	return out.Volumes[0], nil
}

func refuseAttach(c *fakeaws.Call) (*refusal, error) {
	v, err := describeVolume(c)
	if err != nil {
		return nil, err
	}
	id := aws.ToString(v.VolumeId)
	if len(v.Attachments) > 0 {
		return refuse("VolumeInUse", id+" is already attached to an instance"), nil
	}
	instance, err := describeInstance(c, c.Params.Get("InstanceId"))
	if err != nil {
		return nil, err
	}
	if zone := aws.ToString(instance.Placement.AvailabilityZone); zone != aws.ToString(v.AvailabilityZone) {
		return refuse("InvalidVolume.ZoneMismatch", fmt.Sprintf("The volume '%s' is not in the same availability zone as instance '%s'",
			id, aws.ToString(instance.InstanceId))), nil
	}
	return nil, nil
}

func refuseShrink(c *fakeaws.Call) (*refusal, error) {
	size, err := strconv.Atoi(c.Params.Get("Size"))
	if err != nil {
		return nil, nil //nolint:nilerr // the size does not change
	}
	v, err := describeVolume(c)
	if err != nil {
		return nil, err
	}
	if size < int(aws.ToInt32(v.Size)) {
		return refuse("InvalidParameterValue", "New size cannot be smaller than existing size"), nil
	}
	return nil, nil
}

func detach(c *fakeaws.Call, next fakeaws.Handler) (*http.Response, error) {
	v, err := describeVolume(c)
	if err != nil {
		return asRefusal(c, err)
	}
	if len(v.Attachments) == 0 {
		return refuse("IncorrectState", fmt.Sprintf("Volume '%s' is in the 'available' state.", aws.ToString(v.VolumeId))).answer(c), nil
	}
	params := copyParams(c.Params)
	params.Set("InstanceId", aws.ToString(v.Attachments[0].InstanceId))
	c.SetParams(params)
	return next(c)
}
