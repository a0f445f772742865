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

func TestOnlyWhatWasJustMadeIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recentlyCreated{createdAt: map[string]time.Time{}}
		r.note(&ec2.CreateVpcOutput{Vpc: &types.Vpc{VpcId: aws.String("vpc-new")}})
		if !r.isNotVisibleYet(notFound("vpc-new")) {
			t.Error("a new VPC is not waited for")
		}
		if r.isNotVisibleYet(notFound("vpc-old")) {
			t.Error("a VPC is waited for that somebody else deleted")
		}
		if r.isNotVisibleYet(&smithy.GenericAPIError{Code: "DependencyViolation", Message: "vpc-new has dependencies"}) {
			t.Error("another error about a new VPC is retried")
		}
		time.Sleep(awswait.CreatedVisible + time.Second)
		if r.isNotVisibleYet(notFound("vpc-new")) {
			t.Error("it is still waited for when it ought to be visible")
		}
	})
}
