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

// recentlyCreated knows what this process has just made. EC2 is eventually consistent: a
// call that names a new thing may be answered with NotFound for a while, and is
// then worth repeating, where for anything else NotFound is the answer.
type recentlyCreated struct {
	mu        sync.Mutex
	createdAt map[string]time.Time // by id
}

// isNotVisibleYet says whether the error is about something that was made a
// short while ago.
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

// option makes a client note what it makes, and be patient with it.
func (r *recentlyCreated) option(o *ec2.Options) {
	RetryWhen(func(err error, bySDK func(error) bool) bool { return bySDK(err) || r.isNotVisibleYet(err) })(o)
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("XeroOpsRecentlyCreated",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				out, metadata, err := next.HandleInitialize(ctx, in)
				if err == nil {
					r.note(out.Result)
				}
				return out, metadata, err
			}), middleware.After)
	})
}

// note notes the id of what a call has made.
func (r *recentlyCreated) note(result any) {
	var ids []*string
	switch made := result.(type) {
	case *ec2.CreateVpcOutput:
		ids = append(ids, made.Vpc.VpcId)
	case *ec2.CreateSubnetOutput:
		ids = append(ids, made.Subnet.SubnetId)
	case *ec2.CreateRouteTableOutput:
		ids = append(ids, made.RouteTable.RouteTableId)
	case *ec2.CreateInternetGatewayOutput:
		ids = append(ids, made.InternetGateway.InternetGatewayId)
	case *ec2.CreateVpcEndpointOutput:
		ids = append(ids, made.VpcEndpoint.VpcEndpointId)
	case *ec2.CreateSecurityGroupOutput:
		ids = append(ids, made.GroupId)
	case *ec2.CreateVolumeOutput:
		ids = append(ids, made.VolumeId)
	case *ec2.CreateSnapshotOutput:
		ids = append(ids, made.SnapshotId)
	case *ec2.CreateImageOutput:
		ids = append(ids, made.ImageId)
	case *ec2.CopyImageOutput:
		ids = append(ids, made.ImageId)
	case *ec2.AllocateAddressOutput:
		ids = append(ids, made.AllocationId)
	case *ec2.RunInstancesOutput:
		for _, i := range made.Instances {
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
