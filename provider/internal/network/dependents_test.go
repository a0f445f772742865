package network

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestOnlyInterfacesThatNobodyReleasesStay(t *testing.T) {
	attached := func(instance string, status ec2types.AttachmentStatus) *ec2types.NetworkInterfaceAttachment {
		a := &ec2types.NetworkInterfaceAttachment{Status: status}
		if instance != "" {
			a.InstanceId = &instance
		}
		return a
	}
	ending := map[string]bool{"i-ending": true}
	for name, c := range map[string]struct {
		i     ec2types.NetworkInterface
		stays bool
	}{
		"not attached":           {ec2types.NetworkInterface{Status: ec2types.NetworkInterfaceStatusAvailable}, true},
		"of a running instance":  {ec2types.NetworkInterface{Attachment: attached("i-1", ec2types.AttachmentStatusAttached)}, true},
		"of an ending instance":  {ec2types.NetworkInterface{Attachment: attached("i-ending", ec2types.AttachmentStatusAttached)}, false},
		"detaching":              {ec2types.NetworkInterface{Attachment: attached("i-1", ec2types.AttachmentStatusDetaching)}, false},
		"detaching by its state": {ec2types.NetworkInterface{Status: ec2types.NetworkInterfaceStatusDetaching}, false},
		"of a load balancer":     {ec2types.NetworkInterface{RequesterManaged: aws.Bool(true), Attachment: attached("", ec2types.AttachmentStatusAttached)}, false},
	} {
		if got := interfaceStays(c.i, ending); got != c.stays {
			t.Errorf("an interface that is %s: stays is %v", name, got)
		}
	}
}

func TestAnInterfaceIsDescribedByTypeDescriptionAndOwner(t *testing.T) {
	got := describeInterface(ec2types.NetworkInterface{NetworkInterfaceId: aws.String("eni-1"), InterfaceType: ec2types.NetworkInterfaceTypeLambda,
		Description: aws.String("AWS Lambda VPC ENI-resize"), OwnerId: aws.String("123456789012"), RequesterId: aws.String("AROA:resize"),
		Attachment: &ec2types.NetworkInterfaceAttachment{InstanceId: aws.String("i-1")}})
	want := `network interface eni-1 (type lambda, "AWS Lambda VPC ENI-resize", of account 123456789012, created by AROA:resize, attached to i-1)`
	if got != want {
		t.Errorf("description\n%s, want\n%s", got, want)
	}
}
