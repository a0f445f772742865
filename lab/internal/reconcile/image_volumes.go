//go:build linux

package reconcile

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/xeroops/xeroops/internal/fakeaws"
)

// imageVolume is a data volume in an image's block device mapping, where moto has the
// root volume only.
type imageVolume struct {
	device, volume, snapshot string
	gib                      int32
}

// snapshotsFor creates, in the account, a snapshot of each data volume of an instance
// that is being imaged. The caller copies their content.
func (r *Reconciler) snapshotsFor(ctx context.Context, instanceID, imageID string) ([]imageVolume, error) {
	r.mu.Lock()
	devices := r.account.dataVolumes(instanceID)
	sizes := map[string]int32{}
	for _, v := range r.account.volumes {
		sizes[*v.VolumeId] = aws.ToInt32(v.Size)
	}
	r.mu.Unlock()
	var all []imageVolume
	for volume, device := range devices {
		out, err := r.EC2.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{
			VolumeId: &volume, Description: aws.String("Created by CreateImage(" + instanceID + ") for " + imageID)})
		if err != nil {
			return nil, fmt.Errorf("snapshot %s for image %s: %w", volume, imageID, err)
		}
		all = append(all, imageVolume{device: device, volume: volume, snapshot: *out.SnapshotId, gib: sizes[volume]})
	}
	return all, nil
}

// addImageVolumes adds an image's data volumes to its block device mapping and to that
// of instances launched from it.
func (r *Reconciler) addImageVolumes(next fakeaws.Handler) fakeaws.Handler {
	return func(c *fakeaws.Call) (*http.Response, error) {
		if c.Is(fakeaws.EC2, "RunInstances") {
			if volumes := r.volumesOf(c.Params.Get("ImageId")); len(volumes) > 0 {
				c.SetParams(withMappings(c.Params, volumes))
			}
		}
		res, err := next(c)
		if err != nil || res.StatusCode >= 300 || !c.Is(fakeaws.EC2, "DescribeImages") {
			return res, err
		}
		body, err := fakeaws.Body(res)
		if err != nil {
			return nil, err
		}
		fakeaws.SetBody(res, []byte(r.withImageVolumes(string(body))))
		return res, nil
	}
}

func (r *Reconciler) volumesOf(imageID string) []imageVolume {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.images[imageID].volumes
}

// withMappings adds the image's mappings for devices that the call doesn't map, and
// one for the root volume: moto creates none if only other devices are mapped.
func withMappings(p url.Values, volumes []imageVolume) url.Values {
	const mapping = "BlockDeviceMapping.%d."
	var mapped []string
	n := 1
	for ; p.Has(fmt.Sprintf(mapping+"DeviceName", n)); n++ {
		mapped = append(mapped, p.Get(fmt.Sprintf(mapping+"DeviceName", n)))
	}
	if !slices.ContainsFunc(mapped, isRootDevice) {
		p.Set(fmt.Sprintf(mapping+"DeviceName", n), "/dev/xvda")
		p.Set(fmt.Sprintf(mapping+"Ebs.VolumeSize", n), "8")
		n++
	}
	for _, v := range volumes {
		if slices.Contains(mapped, v.device) {
			continue
		}
		p.Set(fmt.Sprintf(mapping+"DeviceName", n), v.device)
		p.Set(fmt.Sprintf(mapping+"Ebs.SnapshotId", n), v.snapshot)
		p.Set(fmt.Sprintf(mapping+"Ebs.VolumeSize", n), fmt.Sprint(v.gib))
		n++
	}
	return p
}

// withImageVolumes adds each image's data volumes to a DescribeImages response, in
// which an image's mapping precedes its id.
func (r *Reconciler) withImageVolumes(answer string) string {
	images := strings.Split(answer, "</blockDeviceMapping>")
	for n := range images[:len(images)-1] {
		for _, v := range r.volumesOf(element(images[n+1], "imageId")) {
			images[n] += fmt.Sprintf("<item><deviceName>%s</deviceName><ebs><deleteOnTermination>false</deleteOnTermination><snapshotId>%s</snapshotId><volumeSize>%d</volumeSize><volumeType>gp3</volumeType></ebs></item>",
				v.device, v.snapshot, v.gib)
		}
	}
	return strings.Join(images, "</blockDeviceMapping>")
}
