package fixups

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// launch corrects RunInstances. It rejects an address that is in use, reserved or
// outside the subnet (moto: HTTP 500) and an unknown security group (moto creates
// it). It moves address and groups to the primary interface, which is deleted with
// the instance, because moto otherwise leaks the address. It sets termination
// protection, the performance of the root volume, and the interface's tags and IPv6 address (also that which the subnet
// assigns), which moto ignores at launch, and shows the groups of the instance.
func launch() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if c.Is(fakeaws.EC2, "RunInstances") {
				c.SetParams(withInterface(c.Params))
				refused, err := refuseLaunch(c)
				if err != nil {
					return asRefusal(c, err)
				}
				if refused != nil {
					return refused.answer(c), nil
				}
			}
			res, err := next(c)
			if !succeeded(res, err) || !c.Is(fakeaws.EC2, "RunInstances", "DescribeInstances") {
				return res, err
			}
			body, err := fakeaws.Body(res)
			if err != nil {
				return nil, err
			}
			fakeaws.SetBody(res, []byte(mapItems(string(body), "instancesSet", withGroups)))
			if c.Action == "RunInstances" {
				interfaceTags := tagSpecifications(c.Params)[types.ResourceTypeNetworkInterface]
				if err := tag(c, []string{element(string(body), "networkInterfaceId")}, interfaceTags); err != nil {
					return asRefusal(c, err)
				}
			}
			if c.Action == "RunInstances" {
				if err := setRootPerformance(c, element(string(body), "instanceId")); err != nil {
					return asRefusal(c, err)
				}
				if err := assignIPv6(c, element(string(body), "networkInterfaceId")); err != nil {
					return asRefusal(c, err)
				}
			}
			if c.Action == "RunInstances" && c.Params.Get("DisableApiTermination") == "true" {
				err = protect(c, element(string(body), "instanceId"))
			}
			return res, err
		}
	}
}

// setRootPerformance sets the performance of the root volume, which moto ignores at launch.
func setRootPerformance(c *fakeaws.Call, id string) error {
	const root = "BlockDeviceMapping.1.Ebs."
	iops, err := strconv.Atoi(c.Params.Get(root + "Iops"))
	if err != nil {
		return nil //nolint:nilerr // the default
	}
	throughput, err := strconv.Atoi(c.Params.Get(root + "Throughput"))
	if err != nil {
		return err
	}
	i, err := describeInstance(c, id)
	if err != nil {
		return err
	}
	_, err = ec2Of(c).ModifyVolume(c.Context(), &ec2.ModifyVolumeInput{VolumeId: i.BlockDeviceMappings[0].Ebs.VolumeId, VolumeType: types.VolumeTypeGp3,
		Iops: aws.Int32(int32(iops)), Throughput: aws.Int32(int32(throughput))})
	return err
}

// assignIPv6 assigns the IPv6 address of a launch or, if it has none and no count of
// addresses, one if the subnet assigns addresses on creation.
func assignIPv6(c *fakeaws.Call, eni string) error {
	const primary = "NetworkInterface.1."
	in := &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: &eni}
	if address := c.Params.Get(primary + "Ipv6Addresses.1.Ipv6Address"); address != "" {
		in.Ipv6Addresses = []string{address}
	} else if subnet := c.Params.Get(primary + "SubnetId"); subnet == "" || c.Params.Has(primary+"Ipv6AddressCount") {
		return nil
	} else if out, err := ec2Of(c).DescribeSubnets(c.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{subnet}}); err != nil {
		return err
	} else if in.Ipv6AddressCount = aws.Int32(1); !aws.ToBool(out.Subnets[0].AssignIpv6AddressOnCreation) {
		return nil
	}
	_, err := ec2Of(c).AssignIpv6Addresses(c.Context(), in)
	return err
}

// withInterface moves network parameters of the instance to its primary interface.
func withInterface(p url.Values) url.Values {
	const primary = "NetworkInterface.1."
	if p.Has(primary+"NetworkInterfaceId") || !p.Has("SubnetId") && !p.Has(primary+"SubnetId") {
		return p
	}
	out := copyParams(p, "SubnetId", "PrivateIpAddress", "SecurityGroupId.")
	if p.Has("SubnetId") {
		out.Set(primary+"DeviceIndex", "0")
		out.Set(primary+"SubnetId", p.Get("SubnetId"))
		if address := p.Get("PrivateIpAddress"); address != "" {
			out.Set(primary+"PrivateIpAddress", address)
		}
		for i, id := range listParam(p, "SecurityGroupId") {
			out.Set(indexed(primary+"SecurityGroupId", i+1), id)
		}
	}
	if !out.Has(primary + "DeleteOnTermination") {
		out.Set(primary+"DeleteOnTermination", "true") // AWS's default for an interface created at launch
	}
	return out
}

func refuseLaunch(c *fakeaws.Call) (*refusal, error) {
	const primary = "NetworkInterface.1."
	if groups := listParam(c.Params, primary+"SecurityGroupId"); len(groups) > 0 {
		if _, err := ec2Of(c).DescribeSecurityGroups(c.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: groups}); err != nil {
			return nil, err
		}
	}
	subnetID, text := c.Params.Get(primary+"SubnetId"), c.Params.Get(primary+"PrivateIpAddress")
	if subnetID == "" || text == "" {
		return nil, nil
	}
	subnets, err := ec2Of(c).DescribeSubnets(c.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{subnetID}})
	if err != nil {
		return nil, err
	}
	if refused := refuseAddress(text, subnets.Subnets[0]); refused != nil {
		return refused, nil
	}
	interfaces, err := interfacesOf(c, "subnet-id", subnetID)
	if err != nil {
		return nil, err
	}
	for _, i := range interfaces {
		if aws.ToString(i.PrivateIpAddress) == text {
			return addressInUse(text), nil
		}
	}
	return nil, nil
}

func addressInUse(address string) *refusal {
	return refuse("InvalidIPAddress.InUse", fmt.Sprintf("Address %s is in use.", address))
}

// reservedAddresses is the number of reserved addresses at the start of a subnet;
// the last address is reserved too
// (https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html).
const reservedAddresses = 4

func refuseAddress(text string, subnet types.Subnet) *refusal {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return refuse("InvalidParameterValue", fmt.Sprintf("Invalid IPv4 address: %s", text))
	}
	cidr, err := netip.ParsePrefix(aws.ToString(subnet.CidrBlock))
	if err != nil || !cidr.Contains(address) {
		return refuse("InvalidParameterValue", fmt.Sprintf("Address %s does not fall within the subnet's address range", text))
	}
	reserved := refuse("InvalidParameterValue", fmt.Sprintf("Address %s is in subnet's reserved address range", text))
	first := cidr.Masked().Addr()
	for range reservedAddresses {
		if address == first {
			return reserved
		}
		first = first.Next()
	}
	if !cidr.Contains(address.Next()) {
		return reserved
	}
	return nil
}

// withGroups copies the groups of the primary interface to the instance, of which
// moto shows none.
func withGroups(item string) (string, bool) {
	before, after, ok := strings.Cut(item, "</networkInterfaceSet>")
	if !ok {
		return item, true
	}
	groups := element(before, "groupSet")
	return before + "</networkInterfaceSet>" + strings.Replace(after, "<groupSet/>", "<groupSet>"+groups+"</groupSet>", 1), true
}

func protect(c *fakeaws.Call, instanceID string) error {
	_, err := ec2Of(c).ModifyInstanceAttribute(c.Context(), &ec2.ModifyInstanceAttributeInput{
		InstanceId: aws.String(instanceID), DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	return err
}
