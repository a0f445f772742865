//go:build linux

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

func (s *Supervisor) startMoto(ctx context.Context) (err error) {
	s.moto, err = moto.Start(ctx, moto.Options{Stderr: s.motoLog()})
	if err != nil {
		return err
	}
	s.closeLater(closer(func() error { s.moto.Stop(); return nil }))
	return openDefaultVPC(ctx, ec2.NewFromConfig(s.client(s.moto.URL)))
}

// motoLog returns moto's log file, to which moto writes a line per call.
func (s *Supervisor) motoLog() io.Writer {
	f, err := os.Create(filepath.Join(s.config.RunDir(), "moto.log"))
	if err != nil {
		s.log.Warn("creating moto's log failed", "error", err)
		return s.output
	}
	return f
}

// openDefaultVPC adds an internet gateway to the default VPC, which moto's lacks.
// Instances launched without a subnet, as by Packer, are in the default VPC.
func openDefaultVPC(ctx context.Context, client *ec2.Client) error {
	filter := func(name, value string) []types.Filter {
		return []types.Filter{{Name: &name, Values: []string{value}}}
	}
	vpcs, err := client.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: filter("is-default", "true")})
	if err != nil || len(vpcs.Vpcs) == 0 {
		return errors.Join(errors.New("find the default VPC"), err)
	}
	vpc := vpcs.Vpcs[0].VpcId
	gateway, err := client.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
	if err != nil {
		return fmt.Errorf("add internet gateway to the default VPC: %w", err)
	}
	id := gateway.InternetGateway.InternetGatewayId
	if _, err := client.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: id, VpcId: vpc}); err != nil {
		return fmt.Errorf("add internet gateway to the default VPC: %w", err)
	}
	tables, err := client.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: filter("vpc-id", *vpc)})
	if err != nil || len(tables.RouteTables) == 0 {
		return errors.Join(errors.New("find the default VPC's route table"), err)
	}
	_, err = client.CreateRoute(ctx, &ec2.CreateRouteInput{
		RouteTableId: tables.RouteTables[0].RouteTableId, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: id})
	if err != nil {
		return fmt.Errorf("add internet gateway to the default VPC: %w", err)
	}
	return nil
}

// client returns the SDK configuration for the lab's own requests to moto.
func (s *Supervisor) client(url string) aws.Config {
	return aws.Config{
		Region: s.config.Region, BaseEndpoint: &url,
		Credentials: credentials.NewStaticCredentialsProvider("lab", "lab", ""),
		// moto closes idle connections, and requests on them would fail.
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true }),
	}
}

func (s *Supervisor) s3Client() *s3.Client {
	return s3.NewFromConfig(s.client(s.moto.URL), func(o *s3.Options) { o.UsePathStyle = true })
}

func (s *Supervisor) iamClient() *iam.Client { return iam.NewFromConfig(s.client(s.moto.URL)) }
