package fixups

import (
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// addressRelease keeps the addresses of a terminated instance in use for a while
// after its network interface is gone. On AWS this can take minutes.
func addressRelease(keptFor time.Duration) func() fakeaws.Middleware {
	return func() fakeaws.Middleware {
		var mu sync.Mutex
		freeAt := map[string]time.Time{} // by subnet and address
		return func(next fakeaws.Handler) fakeaws.Handler {
			return func(c *fakeaws.Call) (*http.Response, error) {
				switch {
				case c.Is(fakeaws.EC2, "RunInstances"):
					p := withInterface(c.Params)
					address := p.Get("NetworkInterface.1.PrivateIpAddress")
					mu.Lock()
					kept := time.Now().Before(freeAt[p.Get("NetworkInterface.1.SubnetId")+"/"+address])
					mu.Unlock()
					if kept {
						return addressInUse(address).answer(c), nil
					}
				case c.Is(fakeaws.EC2, "TerminateInstances"):
					addresses := addressesOf(c, listParam(c.Params, "InstanceId"))
					res, err := next(c)
					if succeeded(res, err) {
						mu.Lock()
						defer mu.Unlock()
						for _, a := range addresses {
							freeAt[a] = time.Now().Add(keptFor)
						}
					}
					return res, err
				}
				return next(c)
			}
		}
	}
}

// addressesOf returns subnet and address of each instance that is not terminated
// already. An unknown instance has none: moto rejects its termination.
func addressesOf(c *fakeaws.Call, ids []string) []string {
	out, err := ec2Of(c).DescribeInstances(c.Context(), &ec2.DescribeInstancesInput{InstanceIds: ids})
	if err != nil {
		return nil
	}
	var addresses []string
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if i.State.Name != "terminated" {
				addresses = append(addresses, aws.ToString(i.SubnetId)+"/"+aws.ToString(i.PrivateIpAddress))
			}
		}
	}
	return addresses
}
