package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec"
)

// tagGeneration numbers a node's instances. It is part of the client token, so
// that a call whose answer was lost is not executed twice.
const tagGeneration = "xeroops:generation"

// tagAddress is the key of the tag with the subnet and address for which an
// instance was launched. An instance elsewhere is not the node but carries copied
// tags: AWS Backup restores them, and "launch more like this" copies them.
const tagAddress = "xeroops:address"

// maxGenerations limits the search for an unused client token.
const maxGenerations = 20

// launch launches an instance for each node in parallel and waits until all of
// them are running.
func (op *operation) launch(ctx context.Context, nodes []clusterspec.Node) error {
	if len(nodes) == 0 {
		return nil
	}
	launched := make([]*ec2types.Instance, len(nodes))
	unanswered := make([]bool, len(nodes))
	err := base.ParallelAll(ctx, base.StepsFor(nodes, func(ctx context.Context, n int, node clusterspec.Node) (err error) {
		launched[n], err = op.run(ctx, node)
		unanswered[n] = awswait.OutcomeUnknown(err)
		return err
	})...)
	for n, node := range nodes {
		op.mayHaveLaunched = op.mayHaveLaunched || unanswered[n]
		if i := launched[n]; i != nil {
			op.actual.live[node.Name] = instance{Instance: *i, node: node.Name, role: node.Role}
			op.launchedNow[aws.ToString(i.InstanceId)] = true
		}
	}
	if err != nil {
		return err
	}
	return op.waitRunning(ctx, nodes)
}

// run launches one node. If the client token of the next generation belongs to
// a terminated instance, it tries the generation after.
func (op *operation) run(ctx context.Context, node clusterspec.Node) (*ec2types.Instance, error) {
	first := op.lastGeneration(node.Name) + 1
	for generation := first; generation < first+maxGenerations; generation++ {
		input, err := op.runInput(node, generation)
		if err != nil {
			return nil, err
		}
		out, err := op.runInstances(ctx, node, input)
		if awswait.HasCode(err, "IdempotentInstanceTerminated", "IdempotentParameterMismatch") {
			continue
		}
		if err != nil {
			return nil, op.launchError(node, err)
		}
		i := out.Instances[0]
		if s := i.State.Name; s == ec2types.InstanceStateNameTerminated || s == ec2types.InstanceStateNameShuttingDown {
			continue
		}
		tflog.Info(ctx, "instance launched", map[string]any{"node": node.Name, "role": string(node.Role), "instance_id": aws.ToString(i.InstanceId)})
		return &i, nil
	}
	return nil, fmt.Errorf("launch node %s: %d client tokens in a row belong to terminated instances; apply again when they have expired, after a day", node.Name, maxGenerations)
}

// runInstances launches an instance, waiting until its instance profile is known
// and its address is free.
func (op *operation) runInstances(ctx context.Context, node clusterspec.Node, input *ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	var holder error // of the address
	isBeingReleased := func(err error) bool {
		if !awswait.HasCode(err, "InvalidIPAddress.InUse") {
			return false
		}
		holder = op.checkAddress(ctx, node)
		return holder == nil
	}
	out, err := awswait.Retry(ctx, awswait.AddressRelease, isBeingReleased, func(ctx context.Context) (*ec2.RunInstancesOutput, error) {
		return awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsProfilePropagating, func(ctx context.Context) (*ec2.RunInstancesOutput, error) {
			return op.Client.EC2.RunInstances(ctx, input, failSoonWithoutCapacity)
		})
	})
	if holder != nil {
		err = fmt.Errorf("%w: %w", holder, err)
	}
	return out, err
}

// checkAddress returns an error if a network interface holds the node's address
// that is not one of an instance which this cluster ended. Without any, AWS is
// still releasing the address.
func (op *operation) checkAddress(ctx context.Context, node clusterspec.Node) error {
	out, err := op.Client.EC2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{
		base.Filter("subnet-id", node.SubnetID), base.Filter("addresses.private-ip-address", node.Address)}})
	if err != nil {
		return fmt.Errorf("find what holds it: %w", err)
	}
	for _, i := range out.NetworkInterfaces {
		id := aws.ToString(i.NetworkInterfaceId)
		switch {
		case op.actual.isEnded(id, i.Attachment):
		case i.Attachment != nil && i.Attachment.InstanceId != nil:
			return fmt.Errorf("network interface %s of instance %s holds it", id, *i.Attachment.InstanceId)
		default:
			return fmt.Errorf("network interface %s (%s) holds it", id, aws.ToString(i.Description))
		}
	}
	return nil
}

// isEnded reports whether a network interface is one of a terminated instance.
func (a *actualState) isEnded(id string, attachment *ec2types.NetworkInterfaceAttachment) bool {
	return a.terminated[id] || attachment != nil && slices.ContainsFunc(a.ended, func(i instance) bool { return i.id() == aws.ToString(attachment.InstanceId) })
}

// lastGeneration returns the highest generation among the node's instances.
func (op *operation) lastGeneration(node string) int {
	last := 0
	for _, i := range op.actual.all() {
		if i.node == node {
			g, _ := strconv.Atoi(base.FlattenEC2Tags(i.Tags)[tagGeneration])
			last = max(last, g)
		}
	}
	return last
}

func (op *operation) clientToken(node clusterspec.Node, generation int) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{op.actual.vpcID, op.spec.Name, node.Name, strconv.Itoa(generation)}, "/")))
	return hex.EncodeToString(sum[:16])
}

func (op *operation) runInput(node clusterspec.Node, generation int) (*ec2.RunInstancesInput, error) {
	userData, err := op.userData(node)
	if err != nil {
		return nil, fmt.Errorf("user-data of node %s: %w", node.Name, err)
	}
	tags := op.nodeTags(node, strconv.Itoa(generation))
	input := &ec2.RunInstancesInput{
		ImageId:      aws.String(node.ImageID),
		InstanceType: ec2types.InstanceType(node.InstanceType),
		MinCount:     aws.Int32(1), MaxCount: aws.Int32(1),
		ClientToken:           aws.String(op.clientToken(node, generation)),
		UserData:              &userData,
		IamInstanceProfile:    &ec2types.IamInstanceProfileSpecification{Name: aws.String(op.roles.ProfileName(node.Role))},
		DisableApiTermination: aws.Bool(op.spec.TerminationProtection),
		// IMDSv2 only, and with a hop limit of 1: containers on the instance
		// cannot reach the metadata service.
		MetadataOptions: &ec2types.InstanceMetadataOptionsRequest{HttpTokens: ec2types.HttpTokensStateRequired,
			HttpPutResponseHopLimit: aws.Int32(1), HttpEndpoint: ec2types.InstanceMetadataEndpointStateEnabled},
		NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: aws.String(node.SubnetID), PrivateIpAddress: aws.String(node.Address),
			Groups: op.groupsOf(node), DeleteOnTermination: aws.Bool(true),
			AssociatePublicIpAddress: aws.Bool(false)}},
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String(op.rootDevice(node.ImageID)),
			Ebs: &ec2types.EbsBlockDevice{VolumeType: ec2types.VolumeTypeGp3, VolumeSize: aws.Int32(op.spec.RootVolumeGiB),
				Encrypted: aws.Bool(true), KmsKeyId: base.Optional(op.spec.KMSKeyID), DeleteOnTermination: aws.Bool(true)}}},
		TagSpecifications: slices.Concat(base.TagOnCreate(ec2types.ResourceTypeInstance, tags), base.TagOnCreate(ec2types.ResourceTypeVolume, tags),
			base.TagOnCreate(ec2types.ResourceTypeNetworkInterface, tags)),
	}
	if node.IPv6Address != "" {
		input.NetworkInterfaces[0].Ipv6Addresses = []ec2types.InstanceIpv6Address{{Ipv6Address: &node.IPv6Address}}
	} else if aws.ToBool(op.dependencies.subnets[node.SubnetID].AssignIpv6AddressOnCreation) {
		input.NetworkInterfaces[0].Ipv6AddressCount = aws.Int32(0) // not the one that the subnet assigns
	}
	setOptions(input, node)
	setPlacementOptions(input, node)
	setRootPerformance(input.BlockDeviceMappings[0].Ebs, node)
	if op.spec.KeyName != "" {
		input.KeyName = &op.spec.KeyName
	}
	return input, nil
}

// failSoonWithoutCapacity disables the SDK's retries, which take minutes, for
// insufficient capacity: the customer has to choose another zone or type.
func failSoonWithoutCapacity(o *ec2.Options) {
	awsclient.RetryWhen(func(err error, bySDK func(error) bool) bool { return !awswait.IsNoCapacity(err) && bySDK(err) })(o)
}

// launchError adds to the error of a launch what to do about it.
func (op *operation) launchError(node clusterspec.Node, err error) error {
	at := func(attribute string) path.Path { return path.Root("nodes").AtMapKey(node.Name).AtName(attribute) }
	err = fmt.Errorf("launch node %s: %w", node.Name, err)
	switch {
	case awswait.IsNoCapacity(err):
		return base.AtAttribute(at("instance_type"), fmt.Errorf("AWS has no capacity for %s in zone %s (subnet %s); choose another type or a subnet in another zone%s, or apply again later: %w",
			op.wantedHardware(node), op.zone(node), node.SubnetID, placementAdvice(node), err))
	case awswait.HasCode(err, "InvalidPlacementGroup.Unknown"):
		return base.AtAttribute(at("placement_group"), err)
	case awswait.HasCode(err, "InvalidIPAddress.InUse"):
		return base.AtAttribute(at("address"), fmt.Errorf("address %s is in use in subnet %s; choose another address: %w", node.Address, node.SubnetID, err))
	case awswait.HasCode(err, "InvalidAMIID.NotFound", "InvalidAMIID.Malformed"):
		return base.AtAttribute(at("image_id"), err)
	case awswait.HasCode(err, "VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"):
		return base.AtAttribute(at("instance_type"), fmt.Errorf("the account's quota for this instance type is exhausted; request an increase from AWS: %w", err))
	}
	return err
}

// waitRunning waits until the nodes' instances are running. It returns an error
// with AWS's reason if one is terminated instead.
func (op *operation) waitRunning(ctx context.Context, nodes []clusterspec.Node) error {
	return awswait.Until(ctx, awswait.CreatedVisible, func(ctx context.Context) (bool, string, error) {
		wanted := map[string]clusterspec.Node{}
		before := map[string]instance{}
		for _, n := range nodes {
			wanted[n.Name] = n
			before[n.Name] = op.actual.live[n.Name]
		}
		if err := op.observeInstances(ctx); err != nil {
			return false, "", err
		}
		for _, ended := range op.actual.ended {
			if ended.id() == before[ended.node].id() {
				return false, "", fmt.Errorf("node %s: instance %s was terminated instead of started: %s", ended.node, ended.id(), op.reason(ended))
			}
		}
		var waiting []string
		for name := range wanted {
			i, visible := op.actual.live[name]
			visible = visible && i.id() == before[name].id() // and not the instance that it replaces
			if !visible {
				op.actual.live[name] = before[name] // not visible yet
			}
			if !visible || i.state() != ec2types.InstanceStateNameRunning {
				waiting = append(waiting, name)
			}
		}
		return len(waiting) == 0, "waiting for " + strings.Join(waiting, ", ") + " to run", nil
	})
}

// reason returns AWS's reason for an instance's state. For one that could not use the
// key of its root volume, AWS names neither the key nor what is missing.
func (op *operation) reason(i instance) string {
	if i.StateReason == nil {
		return "AWS gave no reason"
	}
	text := aws.ToString(i.StateReason.Message)
	if code := aws.ToString(i.StateReason.Code); code != "Client.InternalError" && !strings.HasPrefix(code, "Client.InvalidKMSKey.") {
		return text
	}
	key := cmp.Or(op.spec.KMSKeyID, "the account's default key for EBS")
	return fmt.Sprintf("%s. EC2 reports this if it cannot use a KMS key of the root volume: %s, or the key of image %s if that is encrypted. "+
		"The key has to be enabled, and its policy has to allow the AWS credentials of Terraform kms:CreateGrant, kms:Decrypt, kms:DescribeKey, "+
		"kms:GenerateDataKeyWithoutPlaintext and kms:ReEncrypt*, also if it belongs to another account", strings.TrimSuffix(text, "."), key, aws.ToString(i.ImageId))
}
