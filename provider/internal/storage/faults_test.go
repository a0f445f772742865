package storage_test

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// CheckDestroy expects one final snapshot and nothing else, and so fails if a
// create was duplicated.
func TestLostResponsesCreateNoDuplicates(t *testing.T) {
	for _, effect := range []fakeaws.Effect{fakeaws.DropAfter, fakeaws.ServerError} {
		t.Run(string(effect), func(t *testing.T) {
			a := newAccount(t)
			for _, action := range []string{"CreateVolume", "ModifyVolume", "CreateSnapshot", "DeleteVolume", "CreateBucket",
				"PutBucketVersioning", "PutBucketTagging", "PutBucketPolicy", "PutBucketLifecycleConfiguration", "DeleteBucket"} {
				if err := a.Front.Inject(fakeaws.Fault{Action: action, Nth: 1, Effect: effect}); err != nil {
					t.Fatal(err)
				}
			}
			a.Test(resource.TestCase{
				Steps: []resource.TestStep{
					{Config: keepLast(volumeConfig(10, "")) + bucketConfig("")},
					{Config: keepLast(volumeConfig(20, "")) + bucketConfig(""), Check: a.volumeIs(20, 3000, 125)},
					{Config: keepLast(volumeConfig(20, "type = \"io2\"\n iops = 5000")) + bucketConfig(""), Check: resource.TestCheckResourceAttr(volume, "type", "io2")},
				},
				CheckDestroy: a.leftSnapshots(1),
			})
		})
	}
}
