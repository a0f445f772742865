package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/provider/internal/acctest"
)

func TestMain(m *testing.M) { acctest.Main(m) }

const resourceName = "xeroops_cluster.main"

// account is an AWS account with a network, addresses, volumes and buckets,
// which this provider did not create.
type account struct {
	*acctest.AWS
	t                    *testing.T
	vpc, public, private string
	eips, volumes        []string
	uploads              string
	nodes                map[string]node
	extra                string            // further HCL attributes
	nodeExtra            map[string]string // the same of nodes, by name
	readiness            string
	vpnInVPC, longName   bool
	ipv6                 map[string]string // by node
}

type node struct{ role, instanceType, subnet, address, image, eip, volume string }

func newAccount(t *testing.T) *account { return newAccountIn(t, ec2types.TenancyDefault) }

// newAccountIn is newAccount with a VPC of that tenancy.
func newAccountIn(t *testing.T, tenancy ec2types.Tenancy) *account {
	a := &account{AWS: acctest.Setup(t), t: t, uploads: "uploads-123456789012", readiness: `on_ready_timeout = "skip"`, nodeExtra: map[string]string{}}
	vpc, err := a.EC2.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), InstanceTenancy: tenancy})
	a.must(err)
	a.vpc = *vpc.Vpc.VpcId
	gateway, err := a.EC2.CreateInternetGateway(t.Context(), &ec2.CreateInternetGatewayInput{})
	a.must(err)
	_, err = a.EC2.AttachInternetGateway(t.Context(), &ec2.AttachInternetGatewayInput{VpcId: &a.vpc, InternetGatewayId: gateway.InternetGateway.InternetGatewayId})
	a.must(err)
	a.public, a.private = a.subnet("10.0.1.0/24"), a.subnet("10.0.2.0/24")
	for range 2 {
		eip, err := a.EC2.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{Domain: ec2types.DomainTypeVpc})
		a.must(err)
		a.eips = append(a.eips, *eip.AllocationId)
		volume, err := a.EC2.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String(acctest.Region + "a"), Size: aws.Int32(8)})
		a.must(err)
		a.volumes = append(a.volumes, *volume.VolumeId)
	}
	_, err = a.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &a.uploads,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: acctest.Region}})
	a.must(err)
	a.nodes = map[string]node{
		"edge":       {"openresty-lb", "t3.small", a.public, "10.0.1.10", image("openresty-lb"), a.eips[0], ""},
		"gateway":    {"wireguard", "t3.small", a.public, "10.0.1.11", image("wireguard"), a.eips[1], ""},
		"app1":       {"app", "t3.small", a.private, "10.0.2.10", image("app"), "", ""},
		"app2":       {"app", "t3.small", a.private, "10.0.2.11", image("app"), "", ""},
		"management": {"management", "t3.small", a.private, "10.0.2.20", image("management"), "", ""},
		"db1":        {"db", "t3.medium", a.private, "10.0.2.30", image("db"), "", a.volumes[0]},
		"db2":        {"db", "t3.medium", a.private, "10.0.2.31", image("db"), "", a.volumes[1]},
	}
	a.KeepBaseline()
	return a
}

func image(role model.Role) string { return moto.RoleImageID(role, "1.0.0") }

func (a *account) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// subnet creates a subnet with its own route table in zone "a".
func (a *account) subnet(cidr string) string { return a.subnetIn(cidr, "a") }

func (a *account) subnetIn(cidr, zone string) string {
	out, err := a.EC2.CreateSubnet(a.t.Context(), &ec2.CreateSubnetInput{VpcId: &a.vpc, CidrBlock: &cidr, AvailabilityZone: aws.String(acctest.Region + zone)})
	a.must(err)
	table, err := a.EC2.CreateRouteTable(a.t.Context(), &ec2.CreateRouteTableInput{VpcId: &a.vpc})
	a.must(err)
	_, err = a.EC2.AssociateRouteTable(a.t.Context(), &ec2.AssociateRouteTableInput{SubnetId: out.Subnet.SubnetId, RouteTableId: table.RouteTable.RouteTableId})
	a.must(err)
	return *out.Subnet.SubnetId
}

// config returns the cluster's configuration.
func (a *account) config() string {
	var nodes strings.Builder
	for _, name := range slices.Sorted(maps.Keys(a.nodes)) {
		n := a.nodes[name]
		fmt.Fprintf(&nodes, "    %q = { role = %q, instance_type = %q, subnet_id = %q, address = %q, image_id = %q", name, n.role, n.instanceType, n.subnet, n.address, n.image)
		if address := a.ipv6[name]; address != "" {
			fmt.Fprintf(&nodes, ", ipv6_address = %q", address)
		}
		if n.eip != "" {
			fmt.Fprintf(&nodes, ", eip_id = %q", n.eip)
		}
		if n.volume != "" {
			fmt.Fprintf(&nodes, ", volume_id = %q", n.volume)
		}
		if extra := a.nodeExtra[name]; extra != "" {
			nodes.WriteString(", " + extra)
		}
		nodes.WriteString(" }\n")
	}
	name, vpn := "production", "10.100.0.0/16"
	if a.longName {
		name = strings.Repeat("long", 10)
	}
	if a.vpnInVPC {
		vpn = "10.0.128.0/17"
	}
	return fmt.Sprintf(`
resource "xeroops_cluster" "main" {
  name     = %q
  vpc_id   = %q
  vpn_cidr = %q
  buckets  = { uploads = %q, pgdump = "pgdump-123456789012", walg = "walg-123456789012", logs = "logs-123456789012" }
  nodes    = {
%s  }
  %s
  %s
}
`, name, a.vpc, vpn, a.uploads, nodes.String(), a.readiness, a.extra)
}

// change changes one node of the configuration.
func (a *account) change(name string, f func(*node)) {
	n := a.nodes[name]
	f(&n)
	a.nodes[name] = n
}

// live returns the live instances by node. It fails the test if a node has two.
func (a *account) live() map[string]ec2types.Instance {
	a.t.Helper()
	out, err := a.EC2.DescribeInstances(a.t.Context(), &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}}}})
	a.must(err)
	live := map[string]ec2types.Instance{}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			name := tag(i.Tags, "xeroops:node")
			if _, twice := live[name]; twice {
				a.t.Errorf("node %s has two live instances", name)
			}
			live[name] = i
		}
	}
	return live
}

func tag(tags []ec2types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// ids returns the instance id of each node.
func (a *account) ids() map[string]string {
	ids := map[string]string{}
	for name, i := range a.live() {
		ids[name] = aws.ToString(i.InstanceId)
	}
	return ids
}

// layout has the keys of the cluster's objects.
var layout = model.Layout{Cluster: "production"}

// object returns an object's content, or "" if there is none.
func (a *account) object(key string) string {
	out, err := a.S3.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &a.uploads, Key: &key})
	if err != nil {
		return ""
	}
	var b strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := out.Body.Read(buffer)
		b.Write(buffer[:n])
		if err != nil {
			return b.String()
		}
	}
}

// nodesReport stands in for the nodes, which do not run under moto: until the
// test ends, it writes the boot report that report returns for each start of an
// instance.
func (a *account) nodesReport(report func(node string, i ec2types.Instance) model.BootReport) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	a.t.Cleanup(func() { cancel(); done.Wait() })
	reported := map[string]bool{}
	done.Go(func() {
		for ctx.Err() == nil {
			a.reportOnce(ctx, reported, report)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
}

func (a *account) reportOnce(ctx context.Context, reported map[string]bool, reportOf func(string, ec2types.Instance) model.BootReport) {
	out, err := a.EC2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
	if err != nil {
		return
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			name := tag(i.Tags, "xeroops:node")
			if i.State.Name != ec2types.InstanceStateNameRunning {
				delete(reported, *i.InstanceId)
				continue
			}
			if reported[*i.InstanceId] || name == "" {
				continue
			}
			report := reportOf(name, i)
			report.StartedAt = time.Now()
			report.BootID = report.StartedAt.String()
			report.Schema, report.Cluster, report.Node, report.InstanceID = model.BootReportSchema, "production", name, *i.InstanceId
			body, _ := json.Marshal(report)
			_, err := a.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &a.uploads, Key: aws.String(layout.Report(name)), Body: strings.NewReader(string(body))})
			reported[*i.InstanceId] = err == nil
		}
	}
}

// allReady returns the report of a node that is ready.
func allReady(string, ec2types.Instance) model.BootReport {
	return model.BootReport{State: model.BootReady}
}
