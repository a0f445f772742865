//go:build linux

package reconcile

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/lab/internal/imds"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

// metadata returns what the metadata service serves to an instance.
func (a *account) metadata(i types.Instance, roleARN string, userData []byte, credentialLife time.Duration) imds.Instance {
	zone := ""
	if i.Placement != nil {
		zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	subnet := a.subnets[aws.ToString(i.SubnetId)]
	m := imds.Instance{
		ID: *i.InstanceId, ImageID: aws.ToString(i.ImageId), Type: string(i.InstanceType),
		Architecture: "x86_64", AccountID: moto.Account,
		Region: strings.TrimRight(zone, "abcdef"), AvailabilityZone: zone,
		ReservationID: "r-" + (*i.InstanceId)[2:], LaunchTime: aws.ToTime(i.LaunchTime),
		PrivateAddress: parseAddress(i.PrivateIpAddress), PublicAddress: a.publicAddress(i),
		SubnetID: aws.ToString(i.SubnetId), SubnetCIDR: aws.ToString(subnet.CidrBlock),
		VPCID: aws.ToString(i.VpcId), VPCCIDR: aws.ToString(a.vpcs[aws.ToString(i.VpcId)].CidrBlock),
		SecurityGroups: groupsOf(i), KeyName: aws.ToString(i.KeyName), PublicKey: a.publicKeys[aws.ToString(i.KeyName)],
		RoleARN: roleARN, UserData: userData, Devices: map[string]string{}, Options: options(i.MetadataOptions, credentialLife),
	}
	if i.IamInstanceProfile != nil {
		m.ProfileARN = aws.ToString(i.IamInstanceProfile.Arn)
	}
	if len(i.NetworkInterfaces) > 0 {
		m.InterfaceID = aws.ToString(i.NetworkInterfaces[0].NetworkInterfaceId)
	}
	m.MAC = vpcnet.MAC(m.PrivateAddress).String()
	for volume, device := range a.dataVolumes(*i.InstanceId) {
		m.Devices[volume] = device
	}
	if i.MetadataOptions != nil && i.MetadataOptions.InstanceMetadataTags == types.InstanceMetadataTagsStateEnabled {
		m.Tags = map[string]string{}
		for _, t := range i.Tags {
			m.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}
	return m
}

// options converts metadata options, with EC2's defaults for those that moto omits.
func options(o *types.InstanceMetadataOptionsResponse, credentialLife time.Duration) imds.Options {
	out := imds.Options{TokenHopLimit: 1, CredentialLife: credentialLife}
	if o == nil {
		return out
	}
	out.Disabled = o.HttpEndpoint == types.InstanceMetadataEndpointStateDisabled
	out.TokenRequired = o.HttpTokens == types.HttpTokensStateRequired
	if o.HttpPutResponseHopLimit != nil && *o.HttpPutResponseHopLimit > 0 {
		out.TokenHopLimit = int(*o.HttpPutResponseHopLimit)
	}
	return out
}
