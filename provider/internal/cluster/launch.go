package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
)

// tagGeneration numbers the instances that a node has had; it goes into the
// client token, so that a call whose answer got lost is never carried out twice.
const tagGeneration = "xeroops:generation"

// maxGenerations bounds the search for a token that is not used up.
const maxGenerations = 20

// launch runs an instance for each node, side by side, and waits until all of
// them run.
func (w *work) launch(ctx context.Context, nodes []nodeSpec) error {
	if len(nodes) == 0 {
		return nil
	}
	launched := make([]*ec2types.Instance, len(nodes))
	unanswered := make([]bool, len(nodes))
	err := base.ParallelAll(ctx, stepsFor(nodes, func(ctx context.Context, n int, node nodeSpec) (err error) {
		launched[n], err = w.run(ctx, node)
		unanswered[n] = err != nil && !isRefused(err)
		return err
	})...)
	for n, node := range nodes {
		w.mayRun = w.mayRun || unanswered[n]
		if i := launched[n]; i != nil {
			w.seen.live[node.Name] = instance{Instance: *i, node: node.Name, role: node.Role}
		}
	}
	if err != nil {
		return err
	}
	return w.waitRunning(ctx, nodes)
}

// isRefused says whether AWS answered that it does not launch the instance. No
// answer, or one of a server that broke down, leaves that open.
func isRefused(err error) bool {
	return awswait.Code(err) != "" && !awswait.HasCode(err, "InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable")
}

// run launches one node. If the token of its next generation turns out to
// belong to an instance that has ended since, it tries the one after.
func (w *work) run(ctx context.Context, node nodeSpec) (*ec2types.Instance, error) {
	first := w.lastGeneration(node.Name) + 1
	for generation := first; generation < first+maxGenerations; generation++ {
		input, err := w.runInput(node, generation)
		if err != nil {
			return nil, err
		}
		out, err := awswait.Retry(ctx, awswait.ProfilePropagation, awswait.IsProfilePropagating, func(ctx context.Context) (*ec2.RunInstancesOutput, error) {
			return w.Client.EC2.RunInstances(ctx, input, failSoonWithoutCapacity)
		})
		if awswait.HasCode(err, "IdempotentInstanceTerminated", "IdempotentParameterMismatch") {
			continue
		}
		if err != nil {
			return nil, w.launchError(node, err)
		}
		i := out.Instances[0]
		if s := i.State.Name; s == ec2types.InstanceStateNameTerminated || s == ec2types.InstanceStateNameShuttingDown {
			continue
		}
		tflog.Info(ctx, "launched", map[string]any{"node": node.Name, "role": string(node.Role), "instance_id": aws.ToString(i.InstanceId)})
		return &i, nil
	}
	return nil, fmt.Errorf("launch node %s: %d client tokens in a row belong to instances that have ended; wait a day for AWS to forget them", node.Name, maxGenerations)
}

// lastGeneration is the highest generation of the node that AWS still shows.
func (w *work) lastGeneration(node string) int {
	last := 0
	for _, i := range w.seen.ended {
		if i.node == node {
			g, _ := strconv.Atoi(base.FlattenEC2Tags(i.Tags)[tagGeneration])
			last = max(last, g)
		}
	}
	return last
}

func (w *work) clientToken(node nodeSpec, generation int) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{w.seen.vpcID, w.spec.Name, node.Name, strconv.Itoa(generation)}, "/")))
	return hex.EncodeToString(sum[:16])
}

func (w *work) nodeTags(node nodeSpec, generation int) []ec2types.Tag {
	return base.EC2Tags(w.spec.Name+"-"+node.Name, w.spec.TagsAll, map[string]string{base.TagCluster: w.spec.Name,
		base.TagNode: node.Name, base.TagRole: string(node.Role), tagGeneration: strconv.Itoa(generation)})
}

func (w *work) runInput(node nodeSpec, generation int) (*ec2.RunInstancesInput, error) {
	userData, err := w.userData(node)
	if err != nil {
		return nil, fmt.Errorf("user-data of node %s: %w", node.Name, err)
	}
	tags := w.nodeTags(node, generation)
	input := &ec2.RunInstancesInput{
		ImageId:      aws.String(node.ImageID),
		InstanceType: ec2types.InstanceType(node.InstanceType),
		MinCount:     aws.Int32(1), MaxCount: aws.Int32(1),
		ClientToken:           aws.String(w.clientToken(node, generation)),
		UserData:              &userData,
		IamInstanceProfile:    &ec2types.IamInstanceProfileSpecification{Name: aws.String(w.profileName(node.Role))},
		DisableApiTermination: aws.Bool(w.spec.TerminationProtection),
		// The metadata service answers with tokens alone, and not beyond the
		// machine itself: what runs in a container there cannot ask.
		MetadataOptions: &ec2types.InstanceMetadataOptionsRequest{HttpTokens: ec2types.HttpTokensStateRequired,
			HttpPutResponseHopLimit: aws.Int32(1), HttpEndpoint: ec2types.InstanceMetadataEndpointStateEnabled},
		NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: aws.String(node.SubnetID), PrivateIpAddress: aws.String(node.Address),
			Groups: []string{aws.ToString(w.seen.groups[node.Role].GroupId)}, DeleteOnTermination: aws.Bool(true),
			AssociatePublicIpAddress: aws.Bool(false)}},
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String(w.rootDevice(node.ImageID)),
			Ebs: &ec2types.EbsBlockDevice{VolumeType: ec2types.VolumeTypeGp3, VolumeSize: aws.Int32(w.spec.RootVolumeGiB),
				Encrypted: aws.Bool(true), DeleteOnTermination: aws.Bool(true)}}},
		TagSpecifications: append(base.TagOnCreate(ec2types.ResourceTypeInstance, tags), base.TagOnCreate(ec2types.ResourceTypeVolume, tags)...),
	}
	if w.spec.KeyName != "" {
		input.KeyName = &w.spec.KeyName
	}
	return input, nil
}

// failSoonWithoutCapacity stops the SDK from retrying for minutes what AWS has
// no room for: another zone or type is for the customer to choose.
func failSoonWithoutCapacity(o *ec2.Options) {
	awsclient.RetryWhen(func(err error, bySDK func(error) bool) bool { return !awswait.IsNoCapacity(err) && bySDK(err) })(o)
}

// launchError says what to do about a launch that AWS refused.
func (w *work) launchError(node nodeSpec, err error) error {
	at := func(attribute string) path.Path { return path.Root("nodes").AtMapKey(node.Name).AtName(attribute) }
	err = fmt.Errorf("launch node %s: %w", node.Name, err)
	switch {
	case awswait.IsNoCapacity(err):
		return base.AtAttribute(at("instance_type"), fmt.Errorf("AWS has no %s in the zone of subnet %s now; choose another type or a subnet in another zone, or apply again later: %w",
			node.InstanceType, node.SubnetID, err))
	case awswait.HasCode(err, "InvalidIPAddress.InUse"):
		return base.AtAttribute(at("address"), fmt.Errorf("%s is taken in subnet %s; choose another address: %w", node.Address, node.SubnetID, err))
	case awswait.HasCode(err, "InvalidAMIID.NotFound", "InvalidAMIID.Malformed"):
		return base.AtAttribute(at("image_id"), err)
	case awswait.HasCode(err, "VcpuLimitExceeded", "InstanceLimitExceeded"):
		return base.AtAttribute(at("instance_type"), fmt.Errorf("the account's quota for such instances is used up; ask AWS for more: %w", err))
	}
	return err
}

// waitRunning waits until the nodes' instances run; one that ends instead is an
// error with AWS's reason.
func (w *work) waitRunning(ctx context.Context, nodes []nodeSpec) error {
	return awswait.Until(ctx, awswait.CreatedVisible, func(ctx context.Context) (bool, string, error) {
		wanted := map[string]nodeSpec{}
		before := map[string]instance{}
		for _, n := range nodes {
			wanted[n.Name] = n
			before[n.Name] = w.seen.live[n.Name]
		}
		if err := w.observeInstances(ctx); err != nil {
			return false, "", err
		}
		for _, ended := range w.seen.ended {
			if ended.id() == before[ended.node].id() {
				return false, "", fmt.Errorf("node %s: instance %s ended instead of running: %s", ended.node, ended.id(), reason(ended))
			}
		}
		var waiting []string
		for name := range wanted {
			i, visible := w.seen.live[name]
			if !visible {
				w.seen.live[name] = before[name] // not visible yet
			}
			if !visible || i.state() != ec2types.InstanceStateNameRunning {
				waiting = append(waiting, name)
			}
		}
		return len(waiting) == 0, "waiting for " + strings.Join(waiting, ", ") + " to run", nil
	})
}

func reason(i instance) string {
	if i.StateReason != nil {
		return aws.ToString(i.StateReason.Message)
	}
	return "AWS gives no reason"
}
