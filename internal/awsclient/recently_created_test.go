package awsclient

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/xeroops/xeroops/internal/awswait"
)

func notFound(id string) error {
	return fmt.Errorf("operation error: %w", &smithy.GenericAPIError{Code: "InvalidVpcID.NotFound", Message: "The vpc ID '" + id + "' does not exist"})
}

func TestNotFoundIsRetriedOnlyForRecentlyCreatedResources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recentlyCreated{createdAt: map[string]time.Time{}}
		r.record(&ec2.CreateVpcOutput{Vpc: &types.Vpc{VpcId: aws.String("vpc-new")}})
		if !r.isNotVisibleYet(notFound("vpc-new")) {
			t.Error("NotFound of a new VPC is not retried")
		}
		if r.isNotVisibleYet(notFound("vpc-old")) {
			t.Error("NotFound of an unknown VPC is retried")
		}
		if r.isNotVisibleYet(&smithy.GenericAPIError{Code: "DependencyViolation", Message: "vpc-new has dependencies"}) {
			t.Error("another error about a new VPC is retried")
		}
		time.Sleep(awswait.CreatedVisible + time.Second)
		if r.isNotVisibleYet(notFound("vpc-new")) {
			t.Error("NotFound is still retried after CreatedVisible")
		}
	})
}
