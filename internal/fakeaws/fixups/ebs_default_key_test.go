package fixups_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

func TestTheDefaultKeyOfEBSIsManagedByAWS(t *testing.T) {
	out, err := newFixture(t, fast).ec2.GetEbsDefaultKmsKeyId(ctx, &ec2.GetEbsDefaultKmsKeyIdInput{})
	if err != nil || aws.ToString(out.KmsKeyId) != "alias/aws/ebs" {
		t.Errorf("got %+v, %v", out, err)
	}
}
