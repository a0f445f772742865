package fixups

import (
	"net/http"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// ebsDefaultKey implements GetEbsDefaultKmsKeyId, which moto does not know, for an account
// that has not changed its default key.
func ebsDefaultKey() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if !c.Is(fakeaws.EC2, "GetEbsDefaultKmsKeyId") {
				return next(c)
			}
			return c.Answer(http.StatusOK, "<GetEbsDefaultKmsKeyIdResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><kmsKeyId>alias/aws/ebs</kmsKeyId></GetEbsDefaultKmsKeyIdResponse>"), nil
		}
	}
}
