package ebs

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/xeroops/xeroops/packer-plugin/internal/access"
)

// Forms of values that EC2 refuses only after the image was built.
var (
	notInName    = regexp.MustCompile(`[^A-Za-z0-9()\[\] ./'@_-]`) // CreateImage's reference, Name
	accountID    = regexp.MustCompile(`^\d{12}$`)
	organization = regexp.MustCompile(`^arn:[a-z-]+:organizations::\d{12}:organization/o-[a-z0-9]+$`)
	// kmsKey matches what CopyImage's reference lists for KmsKeyId: a key id, an alias,
	// or the ARN of either.
	kmsKey = regexp.MustCompile(`^(arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:)?(key/)?(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|alias/[A-Za-z0-9/_-]+)$`)
)

func (c *Config) validateImage() (errs []error) {
	if c.SkipCreateAMI {
		return nil
	}
	if n := len(c.AMIName); n < 3 || n > 128 { // the placeholder has 9
		errs = append(errs, fmt.Errorf("ami_name %q has %d characters; use 3 to 128", c.AMIName, n))
	}
	if bad := notInName.FindAllString(c.AMIName, -1); len(bad) > 0 && c.AMIName != access.Unknown {
		errs = append(errs, fmt.Errorf(`ami_name %q has %q, which EC2 does not accept; use letters, digits, spaces and ()[]./-'@_, for example with regex_replace(NAME, "[^A-Za-z0-9./_-]", "-")`,
			c.AMIName, strings.Join(bad, "")))
	}
	if c.DeprecateAt != "" && c.DeprecateAt != access.Unknown {
		at, err := time.Parse(time.RFC3339, c.DeprecateAt)
		if err != nil || !at.After(time.Now()) {
			errs = append(errs, fmt.Errorf("deprecate_at %q is not a future time; use RFC 3339, such as %s", c.DeprecateAt, time.Now().AddDate(0, 6, 0).UTC().Format(time.RFC3339)))
		}
		c.deprecateAt = at
	}
	if c.ForceDeleteSnapshot && !c.ForceDeregister {
		errs = append(errs, errors.New("force_delete_snapshot needs force_deregister"))
	}
	return slices.Concat(errs, c.validateKeys(), c.validateCopies(), c.validateSharing())
}

// validateTags refuses tags that would hide what the build created from its cleanup,
// and those that EC2 refuses.
func (c *Config) validateTags() (errs []error) {
	for name, tags := range map[string]map[string]string{"tags": c.Tags, "snapshot_tags": c.SnapshotTags, "run_tags": c.RunTags, "run_volume_tags": c.RunVolumeTags} {
		for key := range tags {
			if key == tagBuild || strings.HasPrefix(key, "aws:") {
				errs = append(errs, fmt.Errorf("%s has %q, which the builder or AWS sets; use another key", name, key))
			}
		}
	}
	return errs
}

// copyRegions returns the regions to copy to, each once. The build's own region is not
// one of them, if it is known before AWS is configured.
func (c *Config) copyRegions() []string {
	own := cmp.Or(c.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	return slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(c.AMIRegions))), func(r string) bool { return r == own })
}

// validateKeys checks the form of the keys, and that encrypt_boot agrees with them.
func (c *Config) validateKeys() (errs []error) {
	errs = append(errs, checkKey("kms_key_id", c.KMSKeyID, c.Region))
	for _, d := range c.BlockDevices {
		errs = append(errs, checkKey("kms_key_id of "+d.DeviceName, d.KMSKeyID, c.Region))
		if d.KMSKeyID != "" && d.Encrypted == config.TriFalse {
			errs = append(errs, fmt.Errorf("launch_block_device_mappings: %s has kms_key_id and encrypted = false; remove one", d.DeviceName))
		}
	}
	for region, key := range c.RegionKMSKeyIDs {
		errs = append(errs, checkKey("region_kms_key_ids of "+region, key, region))
	}
	if !c.encrypted() && (len(c.RegionKMSKeyIDs) > 0 || c.KMSKeyID != "" && !slices.ContainsFunc(c.BlockDevices, BlockDevice.encrypts)) {
		errs = append(errs, errors.New("encrypt_boot = false conflicts with kms_key_id and region_kms_key_ids; remove it to encrypt the image"))
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// checkKey checks a KMS key's form and, if it is an ARN and the region is known, its
// region.
func checkKey(name, key, region string) error {
	if key == "" || key == access.Unknown {
		return nil
	}
	if !kmsKey.MatchString(key) {
		return fmt.Errorf("%s: %q is not a KMS key; use a key id, alias/NAME, or an ARN", name, key)
	}
	if parsed, err := arn.Parse(key); err == nil && region != "" && parsed.Region != region {
		return fmt.Errorf("%s: key %s is in %s, and EBS needs one in %s", name, key, parsed.Region, region)
	}
	return nil
}

// validateCopies demands a key for each region if the image has one: EC2 would
// otherwise encrypt the copy with that region's default key.
func (c *Config) validateCopies() (errs []error) {
	own := slices.ContainsFunc(c.BlockDevices, func(d BlockDevice) bool { return d.KMSKeyID != "" }) || c.KMSKeyID != ""
	for _, region := range c.copyRegions() {
		if _, ok := c.RegionKMSKeyIDs[region]; !ok && (own || len(c.RegionKMSKeyIDs) > 0) {
			errs = append(errs, fmt.Errorf(`ami_regions has %s, and a KMS key of another region does not encrypt the copy there; `+
				`add %[1]s to region_kms_key_ids with a key of that region, or with "" for its default key`, region))
		}
	}
	for region := range c.RegionKMSKeyIDs {
		switch {
		case !slices.Contains(c.AMIRegions, region):
			errs = append(errs, fmt.Errorf("region_kms_key_ids has region %s, which is not in ami_regions", region))
		case !slices.Contains(c.copyRegions(), region):
			errs = append(errs, fmt.Errorf("region_kms_key_ids has the region of the build, %s; set its key with kms_key_id", region))
		}
	}
	return errs
}

// shared reports whether other accounts may launch the image.
func (c *Config) shared() bool { return len(c.AMIUsers) > 0 || len(c.AMIOrgARNs) > 0 }

// validateSharing refuses to share what is encrypted with a default key: nobody else
// can be allowed to use a key that AWS manages.
func (c *Config) validateSharing() (errs []error) {
	for _, account := range c.AMIUsers {
		if !accountID.MatchString(account) && account != access.Unknown {
			errs = append(errs, fmt.Errorf("ami_users: %q is not an account id of 12 digits", account))
		}
	}
	for _, name := range c.AMIOrgARNs {
		if !organization.MatchString(name) && name != access.Unknown {
			errs = append(errs, fmt.Errorf("ami_org_arns: %q is not the ARN of an organization", name))
		}
	}
	if !c.shared() || !c.encryptsAny() {
		return errs
	}
	if c.encrypted() && isDefaultKey(c.KMSKeyID) || slices.ContainsFunc(c.BlockDevices, func(d BlockDevice) bool { return d.encrypts() && isDefaultKey(cmp.Or(d.KMSKeyID, c.KMSKeyID)) }) {
		errs = append(errs, errors.New("ami_users and ami_org_arns: an image encrypted with the account's default key can't be shared; "+
			"set kms_key_id to a key that the other accounts may use, or encrypt_boot = false (and encrypted = false for other volumes)"))
	}
	for _, region := range c.copyRegions() {
		if isDefaultKey(c.RegionKMSKeyIDs[region]) {
			errs = append(errs, fmt.Errorf("ami_users and ami_org_arns: the copy in %s would be encrypted with the default key of that region and can't be shared; "+
				"set region_kms_key_ids for %[1]s to a key that the other accounts may use", region))
		}
	}
	return errs
}

func (c *Config) encryptsAny() bool {
	return c.encrypted() || slices.ContainsFunc(c.BlockDevices, BlockDevice.encrypts)
}

func (d BlockDevice) encrypts() bool { return !d.NoDevice && d.Encrypted != config.TriFalse }

// isDefaultKey reports whether a key is EBS's own in the account, which AWS manages.
func isDefaultKey(key string) bool {
	return key == "" || key == defaultKey || strings.HasSuffix(key, ":"+defaultKey)
}

// defaultKey is the alias of the key that AWS manages for EBS in each account and
// region.
const defaultKey = "alias/aws/ebs"
