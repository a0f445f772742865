package ebs

import (
	"maps"
	"strings"
	"testing"
)

const (
	keyHere  = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	keyThere = "arn:aws:kms:eu-central-1:123456789012:alias/images"
)

// imageConfig returns a valid configuration with changes.
func imageConfig(change map[string]any) map[string]any {
	c := map[string]any{"region": region, "ami_name": "app-1", "temporary_security_group_source_cidrs": []string{"192.0.2.0/24"}}
	maps.Copy(c, change)
	return c
}

func TestImagesThatEC2WouldRefuseAreRejected(t *testing.T) {
	there := func(key string) map[string]string { return map[string]string{otherRegion: key} }
	for name, test := range map[string]struct {
		config map[string]any
		want   string // "": valid
	}{
		"characters of the name":        {map[string]any{"ami_name": "app:1_ü"}, `has ":ü", which EC2 does not accept`},
		"all characters of the name":    {map[string]any{"ami_name": "aZ09 ()[]./-'@_"}, ""},
		"the builder's tag":             {map[string]any{"run_tags": map[string]string{"xeroops:build": "1"}}, "run_tags has"},
		"a tag of AWS":                  {map[string]any{"tags": map[string]string{"aws:x": "1"}}, "use another key"},
		"a copy without a key":          {map[string]any{"kms_key_id": keyHere, "ami_regions": []string{otherRegion}}, "ami_regions has eu-central-1"},
		"a copy of a volume's key":      {map[string]any{"launch_block_device_mappings": []map[string]any{{"device_name": "/dev/sdf", "kms_key_id": keyHere}}, "ami_regions": []string{otherRegion}}, "ami_regions has eu-central-1"},
		"a copy with a key":             {map[string]any{"kms_key_id": keyHere, "ami_regions": []string{otherRegion}, "region_kms_key_ids": there(keyThere)}, ""},
		"a copy with the default key":   {map[string]any{"kms_key_id": keyHere, "ami_regions": []string{otherRegion}, "region_kms_key_ids": there("")}, ""},
		"all by default keys":           {map[string]any{"ami_regions": []string{otherRegion}}, ""},
		"a copy to the build's region":  {map[string]any{"kms_key_id": keyHere, "ami_regions": []string{region}}, ""},
		"a key of the build's region":   {map[string]any{"ami_regions": []string{region}, "region_kms_key_ids": map[string]string{region: keyHere}}, "set its key with kms_key_id"},
		"some copies without a key":     {map[string]any{"ami_regions": []string{otherRegion, "us-east-1"}, "region_kms_key_ids": there(keyThere)}, "ami_regions has us-east-1"},
		"a key of another region":       {map[string]any{"ami_regions": []string{otherRegion}, "region_kms_key_ids": there(keyHere)}, "EBS needs one in eu-central-1"},
		"kms_key_id of another region":  {map[string]any{"kms_key_id": keyThere}, "EBS needs one in eu-west-1"},
		"not a key":                     {map[string]any{"kms_key_id": "images"}, `"images" is not a KMS key`},
		"a multi-Region key":            {map[string]any{"kms_key_id": "mrk-1234abcd12ab34cd56ef1234567890ab"}, ""},
		"a key and no encryption":       {map[string]any{"kms_key_id": keyHere, "encrypt_boot": false}, "encrypt_boot = false conflicts"},
		"copies' keys, no encryption":   {map[string]any{"encrypt_boot": false, "ami_regions": []string{otherRegion}, "region_kms_key_ids": there(keyThere)}, "encrypt_boot = false conflicts"},
		"a key of an unencrypted one":   {map[string]any{"launch_block_device_mappings": []map[string]any{{"device_name": "/dev/sdf", "kms_key_id": keyHere, "encrypted": false}}}, "remove one"},
		"shared, default key":           {map[string]any{"ami_users": []string{"111122223333"}}, "can't be shared"},
		"shared, AWS's key by alias":    {map[string]any{"ami_users": []string{"111122223333"}, "kms_key_id": "alias/aws/ebs"}, "can't be shared"},
		"shared, default key of a disk": {map[string]any{"ami_users": []string{"111122223333"}, "encrypt_boot": false, "launch_block_device_mappings": []map[string]any{{"device_name": "/dev/sdf"}}}, "encrypted = false for other volumes"},
		"shared, unencrypted":           {map[string]any{"ami_users": []string{"111122223333"}, "encrypt_boot": false, "ami_regions": []string{otherRegion}}, ""},
		"shared, own key":               {map[string]any{"ami_users": []string{"111122223333"}, "kms_key_id": keyHere}, ""},
		"shared, copy by default key":   {map[string]any{"ami_users": []string{"111122223333"}, "kms_key_id": keyHere, "ami_regions": []string{otherRegion}, "region_kms_key_ids": there("")}, "the copy in eu-central-1"},
		"shared, copy by own key":       {map[string]any{"ami_users": []string{"111122223333"}, "kms_key_id": keyHere, "ami_regions": []string{otherRegion}, "region_kms_key_ids": there(keyThere)}, ""},
		"not an account":                {map[string]any{"ami_users": []string{"all"}, "encrypt_boot": false}, "12 digits"},
		"not an organization":           {map[string]any{"ami_org_arns": []string{"o-123"}, "encrypt_boot": false}, "ARN of an organization"},
		"an organization":               {map[string]any{"ami_org_arns": []string{"arn:aws:organizations::123456789012:organization/o-123example"}, "encrypt_boot": false}, ""},
		"known when the build starts":   {map[string]any{"ami_name": "<unknown>", "kms_key_id": "<unknown>", "ami_users": []string{"<unknown>"}, "deprecate_at": "<unknown>", "temporary_security_group_source_cidrs": []string{"<unknown>"}}, ""},
		"-force":                        {map[string]any{"packer_force": true, "force_delete_snapshot": true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var b Builder
			_, _, err := b.Prepare(imageConfig(test.config))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
