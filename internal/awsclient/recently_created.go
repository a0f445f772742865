package awsclient

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/xeroops/xeroops/internal/awswait"
)

// recentlyCreated records what this process created recently. EC2 is eventually
// consistent: a call that names a new resource may return NotFound for a while and
// should be retried, whereas for any other resource NotFound is final.
type recentlyCreated struct {
	mu        sync.Mutex
	createdAt map[string]time.Time // by id
}

// isNotVisibleYet reports whether the error is a NotFound for a resource that was
// created recently.
func (r *recentlyCreated) isNotVisibleYet(err error) bool {
	var api smithy.APIError
	if !awswait.IsNotFound(err) || !errors.As(err, &api) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, at := range r.createdAt {
		if time.Since(at) < awswait.CreatedVisible && strings.Contains(api.ErrorMessage(), id) {
			return true
		}
	}
	return false
}

// option makes a client record what it creates and retry calls that do not find it
// yet.
func (r *recentlyCreated) option(o *ec2.Options) {
	RetryWhen(func(err error, bySDK func(error) bool) bool { return bySDK(err) || r.isNotVisibleYet(err) })(o)
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("XeroOpsRecentlyCreated",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				out, metadata, err := next.HandleInitialize(ctx, in)
				if err == nil {
					r.record(out.Result)
				}
				return out, metadata, err
			}), middleware.After)
	})
}

// record records the ids of the resources that a call created.
func (r *recentlyCreated) record(result any) {
	var ids []*string
	switch created := result.(type) {
	case *ec2.CreateVpcOutput:
		ids = append(ids, created.Vpc.VpcId)
	case *ec2.CreateSubnetOutput:
		ids = append(ids, created.Subnet.SubnetId)
	case *ec2.CreateRouteTableOutput:
		ids = append(ids, created.RouteTable.RouteTableId)
	case *ec2.CreateInternetGatewayOutput:
		ids = append(ids, created.InternetGateway.InternetGatewayId)
	case *ec2.CreateVpcEndpointOutput:
		ids = append(ids, created.VpcEndpoint.VpcEndpointId)
	case *ec2.CreateSecurityGroupOutput:
		ids = append(ids, created.GroupId)
	case *ec2.CreateVolumeOutput:
		ids = append(ids, created.VolumeId)
	case *ec2.CreateSnapshotOutput:
		ids = append(ids, created.SnapshotId)
	case *ec2.CreateImageOutput:
		ids = append(ids, created.ImageId)
	case *ec2.CopyImageOutput:
		ids = append(ids, created.ImageId)
	case *ec2.AllocateAddressOutput:
		ids = append(ids, created.AllocationId)
	case *ec2.RunInstancesOutput:
		for _, i := range created.Instances {
			ids = append(ids, i.InstanceId)
			for _, n := range i.NetworkInterfaces {
				ids = append(ids, n.NetworkInterfaceId)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if id != nil {
			r.createdAt[aws.ToString(id)] = time.Now()
		}
	}
}
