package fixups

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// flowLog lets a flow log have a prefix in its bucket. moto takes all that follows
// the fifth colon of the destination for a bucket's name. The prefix is therefore in
// the ARN's field for the region while the ARN is with moto; no bucket has one there.
func flowLog() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			switch {
			case c.Is(fakeaws.EC2, "CreateFlowLogs"):
				params := copyParams(c.Params)
				params.Set("LogDestination", hidePrefix(params.Get("LogDestination")))
				c.SetParams(params)
			case c.Is(fakeaws.EC2, "DescribeFlowLogs"):
				res, err := next(c)
				if !succeeded(res, err) {
					return res, err
				}
				body, err := fakeaws.Body(res)
				if err != nil {
					return nil, err
				}
				fakeaws.SetBody(res, hiddenPrefix.ReplaceAll(body, []byte("${1}:s3:::${3}/${2}")))
				return res, nil
			}
			return next(c)
		}
	}
}

var hiddenPrefix = regexp.MustCompile(`(arn:[a-z-]+):s3:([^:<]+)::([a-z0-9.-]+)`)

func hidePrefix(destination string) string {
	start, place, _ := strings.Cut(destination, ":s3:::")
	bucket, prefix, _ := strings.Cut(place, "/")
	if prefix == "" {
		return destination
	}
	return start + ":s3:" + prefix + "::" + bucket
}
