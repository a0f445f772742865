package moto_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/internal/testkit/mototest"
)

func start(t *testing.T) *moto.Server {
	t.Helper()
	return mototest.Start(t, moto.Options{})
}

func ec2Client(endpoint, region string) *ec2.Client {
	return ec2.New(ec2.Options{
		BaseEndpoint: &endpoint, Region: region,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

func TestSeededImagesExistInEveryRegion(t *testing.T) {
	s := start(t)
	for _, region := range []string{"eu-west-1", "us-east-1"} {
		for _, role := range cluster.Roles() {
			out, err := ec2Client(s.URL, region).DescribeImages(t.Context(), &ec2.DescribeImagesInput{
				Owners:  []string{"self"},
				Filters: []types.Filter{{Name: aws.String("tag:xeroops:role"), Values: []string{string(role)}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Images) != 1 || *out.Images[0].ImageId != moto.RoleImageID(role, "1.0.0") {
				t.Errorf("%s in %s: got %+v, want the one seeded image", role, region, out.Images)
			}
		}
	}
	out, err := ec2Client(s.URL, "eu-west-1").DescribeImages(t.Context(), &ec2.DescribeImagesInput{
		Owners: []string{moto.DebianOwner},
	})
	if err != nil || len(out.Images) != 1 || *out.Images[0].RootDeviceName != "/dev/xvda" {
		t.Errorf("Debian's image: got %+v, %v", out, err)
	}
}

func TestResetKeepsOnlyTheImages(t *testing.T) {
	s := start(t)
	client := ec2Client(s.URL, "eu-west-1")
	if _, err := client.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	vpcs, err := client.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
	if err != nil || len(vpcs.Vpcs) != 1 {
		t.Errorf("after Reset: got %d VPCs, %v; want the default one", len(vpcs.Vpcs), err)
	}
	images, err := client.DescribeImages(t.Context(), &ec2.DescribeImagesInput{})
	if err != nil || len(images.Images) != len(moto.DefaultImages()) {
		t.Errorf("after Reset: got %d images, %v", len(images.Images), err)
	}
}

func TestStartErrorSaysHowToInstallMoto(t *testing.T) {
	t.Setenv(cluster.EnvMotoServer, "/nowhere/moto_server")
	_, err := moto.Start(t.Context(), moto.Options{})
	if !errors.Is(err, moto.ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
	}
}

func TestStartErrorHasMotosStderr(t *testing.T) {
	s := start(t)
	var port int
	if _, err := fmt.Sscanf(s.URL, "http://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	_, err := moto.Start(context.Background(), moto.Options{Port: port})
	if err == nil {
		t.Fatal("a second moto started on a taken port")
	}
	if want := "in use"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with moto's own %q", err, want)
	}
}
