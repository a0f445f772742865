package moto

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/xeroops/xeroops/internal/cluster"
)

// DebianOwner is the account that publishes Debian's images on AWS
// (https://wiki.debian.org/Cloud/AmazonEC2Image).
const DebianOwner = "136693071363"

// BaseImageID is the id of the seeded Debian 13 image.
const BaseImageID = "ami-0deb1a13000000000"

// Image is an entry of the file MOTO_AMIS_PATH. It has no creation date, with which
// a second region of moto returns HTTP 500.
type Image struct {
	ID             string            `json:"ami_id"`
	State          string            `json:"state"`
	Public         bool              `json:"public"`
	OwnerID        string            `json:"owner_id"`
	Location       string            `json:"image_location"`
	Type           string            `json:"image_type"`
	SRIOV          string            `json:"sriov"`
	RootDeviceType string            `json:"root_device_type"`
	RootDeviceName string            `json:"root_device_name"`
	Description    string            `json:"description"`
	Architecture   string            `json:"architecture"`
	Name           string            `json:"name"`
	Virtualization string            `json:"virtualization_type"`
	Hypervisor     string            `json:"hypervisor"`
	Tags           map[string]string `json:"tags"`
}

// DefaultImages returns Debian's base image and one image per role, tagged as by
// the Packer plugin.
func DefaultImages() []Image {
	base := newImage(BaseImageID, DebianOwner, "debian-13-amd64-20260101-2345", nil)
	base.Public = true
	base.Description = "Debian 13 (20260101-2345)"
	images := []Image{base}
	for _, role := range cluster.Roles() {
		images = append(images, RoleImage(role, "1.0.0"))
	}
	return images
}

// RoleImage returns an image of a role and version. Its id is derived from both.
func RoleImage(role cluster.Role, version string) Image {
	name := fmt.Sprintf("xeroops-%s-%s", role, version)
	return newImage(RoleImageID(role, version), Account, name, map[string]string{
		"Name":             name,
		cluster.TagRole:    string(role),
		cluster.TagVersion: version,
	})
}

// RoleImageID returns the id of the image of [RoleImage].
func RoleImageID(role cluster.Role, version string) string {
	sum := sha256.Sum256([]byte(string(role) + "/" + version))
	return "ami-" + hex.EncodeToString(sum[:])[:17]
}

func newImage(id, owner, name string, tags map[string]string) Image {
	if tags == nil {
		tags = map[string]string{}
	}
	return Image{
		ID: id, State: "available", OwnerID: owner, Location: owner + "/" + name, Type: "machine",
		SRIOV: "simple", RootDeviceType: "ebs", RootDeviceName: "/dev/xvda", Description: name,
		Architecture: "x86_64", Name: name, Virtualization: "hvm", Hypervisor: "xen", Tags: tags,
	}
}

func writeImages(path string, images []Image) error {
	content, err := json.MarshalIndent(images, "", "  ")
	if err != nil {
		return fmt.Errorf("encode images: %w", err)
	}
	return os.WriteFile(path, content, 0o600)
}
