package fixups

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// eventual makes EC2 and IAM return NotFound for a new resource for a while. Both
// are eventually consistent, and clients have to retry
// (https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html).
func eventual(visibleAfter time.Duration) func() fakeaws.Middleware {
	return func() fakeaws.Middleware {
		e := &newResources{delay: visibleAfter, made: map[string]time.Time{}}
		return func(next fakeaws.Handler) fakeaws.Handler {
			if visibleAfter == 0 {
				return next
			}
			return func(c *fakeaws.Call) (*http.Response, error) {
				if refused := e.refuse(c); refused != nil {
					return refused.answer(c), nil
				}
				res, err := next(c)
				if !succeeded(res, err) {
					return res, err
				}
				return res, e.remember(c, res)
			}
		}
	}
}

// newResources records when resources were created, by id or, in IAM, by name.
type newResources struct {
	delay time.Duration
	mu    sync.Mutex
	made  map[string]time.Time
}

// idElement is the element of an EC2 response that contains the id of the new
// resource.
var idElement = map[string]string{
	"CreateVpc": "vpcId", "CreateSubnet": "subnetId", "CreateSecurityGroup": "groupId", "RunInstances": "instanceId",
	"CreateVolume": "volumeId", "CreateRouteTable": "routeTableId", "CreateInternetGateway": "internetGatewayId",
	"AllocateAddress": "allocationId", "CreateVpcEndpoint": "vpcEndpointId", "CreateSnapshot": "snapshotId",
}

// unknown has the error code for each kind of id
// (https://docs.aws.amazon.com/ec2/latest/devguide/errors-overview.html).
var unknown = map[string]string{
	"vpc": "InvalidVpcID.NotFound", "subnet": "InvalidSubnetID.NotFound", "sg": "InvalidGroup.NotFound",
	"i": "InvalidInstanceID.NotFound", "vol": "InvalidVolume.NotFound", "rtb": "InvalidRouteTableID.NotFound",
	"igw": "InvalidInternetGatewayID.NotFound", "eipalloc": "InvalidAllocationID.NotFound",
	"vpce": "InvalidVpcEndpointId.NotFound", "snap": "InvalidSnapshot.NotFound",
}

func (e *newResources) remember(c *fakeaws.Call, res *http.Response) error {
	key := ""
	switch {
	case c.Is(fakeaws.IAM, "CreateRole"):
		key = c.Params.Get("RoleName")
	case c.Is(fakeaws.IAM, "CreateInstanceProfile"):
		key = c.Params.Get("InstanceProfileName")
	case c.Service == fakeaws.EC2 && idElement[c.Action] != "":
		body, err := fakeaws.Body(res)
		if err != nil {
			return err
		}
		key = element(string(body), idElement[c.Action])
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, again := e.made[key]; !again && key != "" {
		e.made[key] = time.Now()
	}
	return nil
}

func (e *newResources) refuse(c *fakeaws.Call) *refusal {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, values := range c.Params {
		id := values[0]
		if hasAnyPrefix(key, []string{"Filter.", "TagSpecification.", "Tag."}) {
			continue // a filter without a match and the text of a tag are not errors
		}
		if time.Since(e.made[id]) >= e.delay {
			continue
		}
		if c.Service == fakeaws.IAM {
			if strings.HasPrefix(c.Action, "Create") {
				continue // a second create fails with another error
			}
			return &refusal{http.StatusNotFound, "NoSuchEntity", fmt.Sprintf("%s cannot be found.", id)}
		}
		kind, _, _ := strings.Cut(id, "-")
		if code := unknown[kind]; code != "" {
			return refuse(code, fmt.Sprintf("The ID '%s' does not exist", id))
		}
	}
	return nil
}
