package fixups

import (
	"net/http"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// dryRun returns that the request would have succeeded. moto carries out the dry
// run of a dozen actions, CreateVpc and DeleteVpc among them.
func dryRun() fakeaws.Middleware {
	return check(func(c *fakeaws.Call) (*refusal, error) {
		if c.Service != fakeaws.EC2 || c.Params.Get("DryRun") != "true" {
			return nil, nil
		}
		return &refusal{http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."}, nil
	})
}
