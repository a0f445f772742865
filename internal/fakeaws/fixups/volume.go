package fixups

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// volume rejects the attachment of a volume that is attached (which corrupts moto's
// state) or in another zone, or as a device that is in use, which it stays for a
// while after a detachment. It finds the instance of a detachment that names none
// (moto: HTTP 500), and rejects a smaller size.
func volume(deviceKeptFor time.Duration) func() fakeaws.Middleware {
	return func() fakeaws.Middleware {
		d := devices{keptFor: deviceKeptFor, freedAt: map[string]time.Time{}}
		return func(next fakeaws.Handler) fakeaws.Handler { return volumeRefusals(d.track(detachments(next))) }
	}
}

// devices records the devices of detached volumes.
type devices struct {
	keptFor time.Duration
	mu      sync.Mutex
	freedAt map[string]time.Time // by instance and device
}

// track rejects an attachment as a device that is in use.
func (d *devices) track(next fakeaws.Handler) fakeaws.Handler {
	return func(c *fakeaws.Call) (*http.Response, error) {
		if !c.Is(fakeaws.EC2, "AttachVolume", "DetachVolume") {
			return next(c)
		}
		if c.Action == "AttachVolume" {
			inUse, err := d.inUse(c)
			if err != nil {
				return asRefusal(c, err)
			}
			if device := c.Params.Get("Device"); inUse {
				return refuse("InvalidParameterValue", fmt.Sprintf("Invalid value '%s' for unixDevice. Attachment point %[1]s is already in use", device)).answer(c), nil
			}
			return next(c)
		}
		v, err := describeVolume(c)
		if err != nil {
			return asRefusal(c, err)
		}
		res, err := next(c)
		if succeeded(res, err) {
			d.mu.Lock()
			defer d.mu.Unlock()
			for _, a := range v.Attachments {
				d.freedAt[aws.ToString(a.InstanceId)+aws.ToString(a.Device)] = time.Now()
			}
		}
		return res, err
	}
}

func (d *devices) inUse(c *fakeaws.Call) (bool, error) {
	id, device := c.Params.Get("InstanceId"), c.Params.Get("Device")
	d.mu.Lock()
	kept := time.Since(d.freedAt[id+device]) < d.keptFor
	d.mu.Unlock()
	i, err := describeInstance(c, id)
	for _, m := range i.BlockDeviceMappings {
		kept = kept || aws.ToString(m.DeviceName) == device
	}
	return kept, err
}

func volumeRefusals(next fakeaws.Handler) fakeaws.Handler {
	refusals := check(func(c *fakeaws.Call) (*refusal, error) {
		switch {
		case c.Is(fakeaws.EC2, "AttachVolume"):
			return refuseAttach(c)
		case c.Is(fakeaws.EC2, "ModifyVolume"):
			return refuseShrink(c)
		}
		return nil, nil
	})
	return refusals(next)
}

// detachments finds the instance of a detachment that names none.
func detachments(next fakeaws.Handler) fakeaws.Handler {
	return func(c *fakeaws.Call) (*http.Response, error) {
		if !c.Is(fakeaws.EC2, "DetachVolume") || c.Params.Has("InstanceId") {
			return next(c)
		}
		return detach(c, next)
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
