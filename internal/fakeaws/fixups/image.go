package fixups

import (
	"net/http"
	"strings"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// image returns an error for the id of a deregistered image; moto returns an empty
// list.
func image() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			res, err := next(c)
			if !c.Is(fakeaws.EC2, "DescribeImages") || !succeeded(res, err) {
				return res, err
			}
			body, err := fakeaws.Body(res)
			if err != nil {
				return nil, err
			}
			for _, id := range listParam(c.Params, "ImageId") {
				if !strings.Contains(string(body), "<imageId>"+id+"</imageId>") && !c.Params.Has("Filter.1.Name") {
					return refuse("InvalidAMIID.NotFound", "The image id '["+id+"]' does not exist").answer(c), nil
				}
			}
			return res, nil
		}
	}
}
