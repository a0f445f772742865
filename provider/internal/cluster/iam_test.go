package cluster

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func TestAnIAMRoleIsOwnByItsPathAndTag(t *testing.T) {
	w := reference()
	other := []iamtypes.Tag{{Key: aws.String("xeroops:cluster"), Value: aws.String("staging")}}
	cases := map[string]struct {
		path string
		tags []iamtypes.Tag
		want bool
	}{
		"made by this cluster":  {w.iamPath(), newIAMTags(w.iamTags("x")), true},
		"another path":          {"/", newIAMTags(w.iamTags("x")), false},
		"no tags":               {w.iamPath(), nil, false},
		"another cluster's tag": {w.iamPath(), other, false},
	}
	for name, c := range cases {
		if got := w.isOwn(&c.path, c.tags); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
