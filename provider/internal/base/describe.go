package base

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/awsbatch"
)

// Describer combines the look-ups of several resources into one Describe call per
// type. Unlike in a Describe by id, missing resources do not fail the call; they
// are missing from the result.
type Describer struct {
	VPCs        *awsbatch.Batch[types.Vpc]         // by id
	Subnets     *awsbatch.Batch[types.Subnet]      // by id
	Volumes     *awsbatch.Batch[types.Volume]      // by id
	S3Endpoints *awsbatch.Batch[types.VpcEndpoint] // gateway endpoint for S3, by VPC id

	NetworkInterfaces *awsbatch.Batch[types.NetworkInterface] // by id

	RouteTables    *awsbatch.Batch[[]types.RouteTable]    // all of a VPC, by its id
	SecurityGroups *awsbatch.Batch[[]types.SecurityGroup] // all of a VPC, by its id
	Instances      *awsbatch.Batch[[]types.Instance]      // by the value of TagCluster
	Objects        *awsbatch.Batch[map[string]string]     // ETag by key in S3, by BUCKET/PREFIX

	addresses *awsbatch.Batch[[]types.Address] // all, by ""
	client    *awsclient.EC2
	images    *awsbatch.Batch[types.Image] // by ImageQuery; see NewestImage
}

// NewDescriber returns a Describer that uses these clients, which must be for region.
func NewDescriber(client *awsclient.EC2, objects *s3.Client, region string) *Describer {
	return &Describer{
		client: client,
		images: newImageBatch(client),
		VPCs: awsbatch.New(func(ctx context.Context, ids []string) (map[string]types.Vpc, error) {
			found := map[string]types.Vpc{}
			out, err := client.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []types.Filter{Filter("vpc-id", ids...)}})
			if err != nil {
				return nil, err
			}
			index(found, out.Vpcs, func(v types.Vpc) *string { return v.VpcId })
			return found, nil
		}),
		Subnets: awsbatch.New(func(ctx context.Context, ids []string) (map[string]types.Subnet, error) {
			found := map[string]types.Subnet{}
			pages := ec2.NewDescribeSubnetsPaginator(client, &ec2.DescribeSubnetsInput{Filters: []types.Filter{Filter("subnet-id", ids...)}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				index(found, page.Subnets, func(s types.Subnet) *string { return s.SubnetId })
			}
			return found, nil
		}),
		RouteTables: awsbatch.New(func(ctx context.Context, vpcs []string) (map[string][]types.RouteTable, error) {
			found := map[string][]types.RouteTable{}
			pages := ec2.NewDescribeRouteTablesPaginator(client, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{Filter("vpc-id", vpcs...)}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				group(found, page.RouteTables, func(t types.RouteTable) *string { return t.VpcId })
			}
			return found, nil
		}),
		SecurityGroups: awsbatch.New(func(ctx context.Context, vpcs []string) (map[string][]types.SecurityGroup, error) {
			found := map[string][]types.SecurityGroup{}
			pages := ec2.NewDescribeSecurityGroupsPaginator(client, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{Filter("vpc-id", vpcs...)}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				group(found, page.SecurityGroups, func(g types.SecurityGroup) *string { return g.VpcId })
			}
			return found, nil
		}),
		Instances: awsbatch.New(func(ctx context.Context, clusters []string) (map[string][]types.Instance, error) {
			return describeInstances(ctx, client, clusters)
		}),
		Objects: awsbatch.New(func(ctx context.Context, places []string) (map[string]map[string]string, error) {
			return listObjects(ctx, objects, places)
		}),
		addresses: awsbatch.New(func(ctx context.Context, _ []string) (map[string][]types.Address, error) {
			out, err := client.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{}) // has no pages
			if err != nil {
				return nil, err
			}
			return map[string][]types.Address{"": out.Addresses}, nil
		}),
		Volumes: awsbatch.New(func(ctx context.Context, ids []string) (map[string]types.Volume, error) {
			found := map[string]types.Volume{}
			pages := ec2.NewDescribeVolumesPaginator(client, &ec2.DescribeVolumesInput{Filters: []types.Filter{Filter("volume-id", ids...)}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				index(found, page.Volumes, func(v types.Volume) *string { return v.VolumeId })
			}
			return found, nil
		}),
		NetworkInterfaces: awsbatch.New(func(ctx context.Context, ids []string) (map[string]types.NetworkInterface, error) {
			found := map[string]types.NetworkInterface{}
			pages := ec2.NewDescribeNetworkInterfacesPaginator(client, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{Filter("network-interface-id", ids...)}})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				index(found, page.NetworkInterfaces, func(i types.NetworkInterface) *string { return i.NetworkInterfaceId })
			}
			return found, nil
		}),
		S3Endpoints: awsbatch.New(func(ctx context.Context, vpcs []string) (map[string]types.VpcEndpoint, error) {
			return describeS3Endpoints(ctx, client, region, vpcs)
		}),
	}
}

// S3ServiceName returns the service name of S3 for VPC endpoints.
func S3ServiceName(region string) string { return "com.amazonaws." + region + ".s3" }

func describeS3Endpoints(ctx context.Context, client *awsclient.EC2, region string, vpcs []string) (map[string]types.VpcEndpoint, error) {
	found := map[string]types.VpcEndpoint{}
	pages := ec2.NewDescribeVpcEndpointsPaginator(client, &ec2.DescribeVpcEndpointsInput{Filters: []types.Filter{
		Filter("vpc-id", vpcs...), Filter("service-name", S3ServiceName(region))}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range page.VpcEndpoints {
			// The API reference has Deleted, the API returns deleted.
			gone := strings.EqualFold(string(e.State), string(types.StateDeleted)) || strings.EqualFold(string(e.State), string(types.StateDeleting))
			if !gone && e.VpcEndpointType == types.VpcEndpointTypeGateway {
				found[aws.ToString(e.VpcId)] = e
			}
		}
	}
	return found, nil
}

// describeInstances describes the instances with the tag of a cluster.
func describeInstances(ctx context.Context, client *awsclient.EC2, clusters []string) (map[string][]types.Instance, error) {
	found := map[string][]types.Instance{}
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: []types.Filter{Filter("tag:"+TagCluster, clusters...)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, reservation := range page.Reservations {
			for _, i := range reservation.Instances {
				cluster := FlattenEC2Tags(i.Tags)[TagCluster]
				found[cluster] = append(found[cluster], i)
			}
		}
	}
	return found, nil
}

// listObjects lists the objects of each bucket and prefix. A bucket that does not
// exist has none.
func listObjects(ctx context.Context, client *s3.Client, places []string) (map[string]map[string]string, error) {
	found := map[string]map[string]string{}
	for _, place := range places {
		bucket, prefix, _ := strings.Cut(place, "/")
		if found[place] != nil {
			continue
		}
		found[place] = map[string]string{}
		pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if awswait.IsNotFound(err) {
				break
			}
			if err != nil {
				return nil, err
			}
			for _, object := range page.Contents {
				found[place][aws.ToString(object.Key)] = aws.ToString(object.ETag)
			}
		}
	}
	return found, nil
}

// ShareInRefresh returns a context in which a data source shares the answers of a refresh,
// and ctx in an apply, which changes what other data sources have asked for. In an apply,
// Terraform reads no resource.
func (p *ProviderData) ShareInRefresh(ctx context.Context) context.Context {
	p.Claims.mu.Lock()
	defer p.Claims.mu.Unlock()
	if !p.Claims.hasRead {
		return ctx
	}
	return awsbatch.Share(ctx)
}

// Addresses returns all Elastic IPs of the account and region. There are few: the
// default quota is five.
func (d *Describer) Addresses(ctx context.Context) ([]types.Address, error) {
	all, _, err := d.addresses.Get(ctx, "")
	return slices.Clone(all), err
}

// Address returns the Elastic IP with an allocation id, and whether it exists.
func (d *Describer) Address(ctx context.Context, id string) (types.Address, bool, error) {
	all, _, err := d.addresses.Get(ctx, "")
	for _, a := range all {
		if aws.ToString(a.AllocationId) == id {
			return a, true, nil
		}
	}
	return types.Address{}, false, err
}

func group[T any](into map[string][]T, things []T, key func(T) *string) {
	for _, t := range things {
		k := aws.ToString(key(t))
		into[k] = append(into[k], t)
	}
}

func index[T any](into map[string]T, things []T, key func(T) *string) {
	for _, t := range things {
		into[aws.ToString(key(t))] = t
	}
}

// Filter returns a filter of a Describe call.
func Filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// NamedFilters returns filters for what the provider created under a name.
func NamedFilters(name string) []types.Filter {
	return []types.Filter{Filter("tag:"+TagName, name), Filter("tag:"+TagManagedBy, managedBy)}
}

// TagOnCreate returns the tags of a resource for the call that creates it, so that
// the resource can be found from the start.
func TagOnCreate(kind types.ResourceType, tags []types.Tag) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: kind, Tags: tags}}
}

// SetEC2Tags changes the tags of a resource from actual to wanted. Tags of others
// stay.
func SetEC2Tags(ctx context.Context, client *awsclient.EC2, id string, actual, wanted []types.Tag, managed ManagedTags) error {
	set, remove := managed.Changes(FlattenEC2Tags(actual), FlattenEC2Tags(wanted))
	if len(set) > 0 {
		if _, err := client.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: ExpandEC2Tags(set)}); err != nil {
			return err
		}
	}
	if len(remove) == 0 {
		return nil
	}
	var tags []types.Tag
	for _, k := range remove {
		tags = append(tags, types.Tag{Key: aws.String(k)})
	}
	_, err := client.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{id}, Tags: tags})
	return err
}

// EC2ARN returns the ARN of an EC2 resource, such as vpc/vpc-123, in the account
// and region of client.
func EC2ARN(ctx context.Context, client *awsclient.Client, resource string) (string, error) {
	account, err := client.AccountID(ctx)
	if err != nil {
		return "", err
	}
	partition, err := client.Partition(ctx)
	return arn.ARN{Partition: partition, Service: "ec2", Region: client.Region, AccountID: account, Resource: resource}.String(), err
}
