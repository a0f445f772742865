package fixups

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// terminated disassociates the Elastic IPs of a terminated instance, which moto
// leaves associated, and stops listing the instance after a while.
func terminated(listedFor time.Duration) func() fakeaws.Middleware {
	return func() fakeaws.Middleware {
		var mu sync.Mutex
		since := map[string]time.Time{}
		return func(next fakeaws.Handler) fakeaws.Handler {
			return func(c *fakeaws.Call) (*http.Response, error) {
				res, err := next(c)
				if !succeeded(res, err) {
					return res, err
				}
				switch {
				case c.Is(fakeaws.EC2, "TerminateInstances"):
					ids := listParam(c.Params, "InstanceId")
					mu.Lock()
					for _, id := range ids {
						since[id] = time.Now()
					}
					mu.Unlock()
					return res, freeAddresses(c, ids)
				case c.Is(fakeaws.EC2, "DescribeInstances"):
					body, err := fakeaws.Body(res)
					if err != nil {
						return nil, err
					}
					text := mapItems(string(body), "instancesSet", func(item string) (string, bool) {
						mu.Lock()
						defer mu.Unlock()
						at, known := since[element(item, "instanceId")]
						return item, !known || time.Since(at) < listedFor || !strings.Contains(item, "<code>48</code><name>terminated</name>")
					})
					fakeaws.SetBody(res, []byte(withoutEmptyReservations(text)))
				}
				return res, nil
			}
		}
	}
}

func freeAddresses(c *fakeaws.Call, instanceIDs []string) error {
	client := ec2Of(c)
	out, err := client.DescribeAddresses(c.Context(), &ec2.DescribeAddressesInput{
		Filters: []types.Filter{{Name: aws.String("instance-id"), Values: instanceIDs}},
	})
	if err != nil {
		return err
	}
	for _, a := range out.Addresses {
		if a.AssociationId == nil {
			continue
		}
		if _, err := client.DisassociateAddress(c.Context(), &ec2.DisassociateAddressInput{AssociationId: a.AssociationId}); err != nil {
			return err
		}
	}
	return nil
}
