package ebs

import (
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
)

// blockDevices are the instance's volumes. The root volume is among them
// always: it is encrypted unless encrypt_boot is false, and all of them go with
// the instance, so that terminating it leaves none.
func (b *build) blockDevices() []types.BlockDeviceMapping {
	root := aws.ToString(b.source.RootDeviceName)
	given := b.config.BlockDevices
	hasRoot := false
	for _, d := range given {
		hasRoot = hasRoot || d.DeviceName == root
	}
	if !hasRoot {
		given = append([]BlockDevice{{DeviceName: root, VolumeType: "gp3"}}, given...)
	}
	var mappings []types.BlockDeviceMapping
	for _, d := range given {
		mappings = append(mappings, b.mapping(d, d.DeviceName == root))
	}
	return mappings
}

func (b *build) mapping(d BlockDevice, root bool) types.BlockDeviceMapping {
	if d.NoDevice {
		return types.BlockDeviceMapping{DeviceName: aws.String(d.DeviceName), NoDevice: aws.String("")}
	}
	encrypted, key := d.Encrypted, d.KMSKeyID
	if root && encrypted == config.TriUnset {
		encrypted = b.config.EncryptBoot
	}
	if key == "" && encrypted != config.TriFalse {
		key = b.config.KMSKeyID
	}
	ebs := &types.EbsBlockDevice{
		DeleteOnTermination: aws.Bool(true),
		VolumeType:          types.VolumeType(d.VolumeType),
		VolumeSize:          positive(d.VolumeSize),
		Iops:                positive(d.IOPS),
		Throughput:          positive(d.Throughput),
		Encrypted:           aws.Bool(encrypted != config.TriFalse),
	}
	if root && ebs.VolumeSize == nil {
		ebs.VolumeSize = b.sourceRootSize()
	}
	if d.SnapshotID != "" {
		ebs.SnapshotId = aws.String(d.SnapshotID)
	}
	if key != "" {
		ebs.KmsKeyId = aws.String(key)
	}
	return types.BlockDeviceMapping{DeviceName: aws.String(d.DeviceName), Ebs: ebs}
}

func (b *build) sourceRootSize() *int32 {
	for _, d := range b.source.BlockDeviceMappings {
		if d.Ebs != nil && aws.ToString(d.DeviceName) == aws.ToString(b.source.RootDeviceName) {
			return d.Ebs.VolumeSize
		}
	}
	return nil
}

func positive(n int32) *int32 {
	if n <= 0 {
		return nil
	}
	return &n
}

func isIPv6(cidr string) bool { return netip.MustParsePrefix(cidr).Addr().Is6() }
