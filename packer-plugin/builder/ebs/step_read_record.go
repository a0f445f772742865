package ebs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/xeroops/xeroops/packer-plugin/internal/imagerecord"
)

// recordFile is the record that the provisioner xeroops-role wrote into the
// image, and the SHA-256 sum of its file.
type recordFile struct {
	imagerecord.Record
	sum string
}

// stepReadRecord reads the image's record, if it has one.
type stepReadRecord struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepReadRecord) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "read the image's record", func(ctx context.Context, _ *build) error {
		status, content, err := runRemote(ctx, state, "if test -e "+imagerecord.Path+"; then cat "+imagerecord.Path+"; fi")
		if err != nil || status == 0 && content == "" {
			return err
		}
		if status != 0 {
			return fmt.Errorf("cat %s: exit status %d", imagerecord.Path, status)
		}
		record, err := imagerecord.Parse([]byte(content))
		if err != nil {
			return err
		}
		sum := sha256.Sum256([]byte(content))
		keyRecord.put(state, &recordFile{record, hex.EncodeToString(sum[:])})
		return nil
	})
}

// tags returns the tags that describe the image's content.
func (r *recordFile) tags() map[string]string {
	if r == nil {
		return nil
	}
	return map[string]string{
		imagerecord.TagRole:     r.Role,
		imagerecord.TagVersion:  r.Version,
		imagerecord.TagPackages: fmt.Sprint(len(r.Packages)),
		imagerecord.TagRecord:   r.sum,
		imagerecord.TagContent:  r.Content,
	}
}
