package network

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestAssociatedWith(t *testing.T) {
	for want, address := range map[string]ec2types.Address{
		"":                                   {AllocationId: aws.String("eipalloc-1"), InstanceId: aws.String("")},
		"associated with i-1 (eipassoc-1)":   {InstanceId: aws.String("i-1"), NetworkInterfaceId: aws.String("eni-1"), AssociationId: aws.String("eipassoc-1")},
		"associated with eni-1 (eipassoc-2)": {NetworkInterfaceId: aws.String("eni-1"), AssociationId: aws.String("eipassoc-2")},
	} {
		if got := associatedWith(address); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
