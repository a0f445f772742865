package ebs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/xeroops/xeroops/packer-plugin/internal/imagerecord"
)

// readRecord reads what the provisioner xeroops-role wrote into the image
// about it, if it did.
func (b *build) readRecord(ctx context.Context) error {
	status, content, err := b.runRemote(ctx, "if test -e "+imagerecord.Path+"; then cat "+imagerecord.Path+"; fi")
	if err != nil || status == 0 && content == "" {
		return err
	}
	if status != 0 {
		return fmt.Errorf("cat %s: status %d", imagerecord.Path, status)
	}
	record, err := imagerecord.Parse([]byte(content))
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(content))
	b.record, b.recordSum = &record, hex.EncodeToString(sum[:])
	return nil
}

func (b *build) recordTags() map[string]string {
	if b.record == nil {
		return nil
	}
	return map[string]string{
		imagerecord.TagRole:     b.record.Role,
		imagerecord.TagVersion:  b.record.Version,
		imagerecord.TagPackages: fmt.Sprint(len(b.record.Packages)),
		imagerecord.TagRecord:   b.recordSum,
		imagerecord.TagContent:  b.record.Content,
	}
}
