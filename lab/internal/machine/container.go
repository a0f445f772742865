package machine

import "strings"

const byID = "/dev/disk/by-id"

func (v Volume) linkName() string {
	return "nvme-Amazon_Elastic_Block_Store_" + strings.Replace(v.ID, "-", "", 1)
}

// Container runs machines in systemd-nspawn.
type Container struct {
	// RunDir holds what lives as long as a machine; a short path, sockets are in it.
	RunDir string
	// StateDir holds the machines' disks and console logs.
	StateDir string
	// CgroupName is that of the lab's control group, made at the hierarchy's root.
	CgroupName string
}
