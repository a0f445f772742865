package network

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestLocalAndUnusableZonesAreLeftOut(t *testing.T) {
	zone := func(name, kind string, optIn ec2types.AvailabilityZoneOptInStatus, state ec2types.AvailabilityZoneState) ec2types.AvailabilityZone {
		return ec2types.AvailabilityZone{ZoneName: aws.String(name), ZoneType: aws.String(kind), OptInStatus: optIn, State: state}
	}
	const notRequired = ec2types.AvailabilityZoneOptInStatusOptInNotRequired
	zones := usableZones([]ec2types.AvailabilityZone{
		zone("us-west-2-lax-1a", "local-zone", ec2types.AvailabilityZoneOptInStatusOptedIn, ec2types.AvailabilityZoneStateAvailable),
		zone("us-west-2d", "availability-zone", notRequired, ec2types.AvailabilityZoneStateAvailable),
		zone("us-west-2-wl1-den-wlz-1", "wavelength-zone", ec2types.AvailabilityZoneOptInStatusOptedIn, ec2types.AvailabilityZoneStateAvailable),
		zone("us-west-2b", "availability-zone", notRequired, ec2types.AvailabilityZoneStateImpaired),
		zone("us-west-2c", "availability-zone", ec2types.AvailabilityZoneOptInStatusNotOptedIn, ec2types.AvailabilityZoneStateAvailable),
	})
	var names []string
	for _, z := range zones {
		names = append(names, *z.ZoneName)
	}
	if want := []string{"us-west-2b", "us-west-2d"}; !slices.Equal(names, want) {
		t.Errorf("zones %v, want %v: impaired ones stay, so that an outage changes no plan", names, want)
	}
}
