package ebs

import (
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
)

// blockDevices returns the instance's volumes. The root volume is always one of
// them, because encrypt_boot applies to it. Terminating the instance deletes
// all of them.
func blockDevices(c *Config, source types.Image) []types.BlockDeviceMapping {
	root := aws.ToString(source.RootDeviceName)
	devices := c.BlockDevices
	hasRoot := false
	for _, d := range devices {
		hasRoot = hasRoot || d.DeviceName == root
	}
	if !hasRoot {
		devices = append([]BlockDevice{{DeviceName: root, VolumeType: "gp3"}}, devices...)
	}
	var mappings []types.BlockDeviceMapping
	for _, d := range devices {
		mappings = append(mappings, mapping(c, source, d))
	}
	return mappings
}

func mapping(c *Config, source types.Image, d BlockDevice) types.BlockDeviceMapping {
	if d.NoDevice {
		return types.BlockDeviceMapping{DeviceName: aws.String(d.DeviceName), NoDevice: aws.String("")}
	}
	root := d.DeviceName == aws.ToString(source.RootDeviceName)
	encrypted, key := d.Encrypted, d.KMSKeyID
	if root && encrypted == config.TriUnset {
		encrypted = c.EncryptBoot
	}
	if key == "" && encrypted != config.TriFalse {
		key = c.KMSKeyID
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
		ebs.VolumeSize = rootSize(source)
	}
	if d.SnapshotID != "" {
		ebs.SnapshotId = aws.String(d.SnapshotID)
	}
	if key != "" {
		ebs.KmsKeyId = aws.String(key)
	}
	return types.BlockDeviceMapping{DeviceName: aws.String(d.DeviceName), Ebs: ebs}
}

func rootSize(source types.Image) *int32 {
	for _, d := range source.BlockDeviceMappings {
		if d.Ebs != nil && aws.ToString(d.DeviceName) == aws.ToString(source.RootDeviceName) {
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
