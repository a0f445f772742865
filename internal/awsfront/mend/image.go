package mend

import (
	"net/http"
	"strings"

	"github.com/xeroops/xeroops/internal/awsfront"
)

// image makes a deregistered image's id unknown, where moto answers with an
// empty list.
func image() awsfront.Middleware {
	return func(next awsfront.Handler) awsfront.Handler {
		return func(c *awsfront.Call) (*http.Response, error) {
			res, err := next(c)
			if !c.Is(awsfront.EC2, "DescribeImages") || !succeeded(res, err) {
				return res, err
			}
			body, err := awsfront.Body(res)
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
