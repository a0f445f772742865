package cluster

import (
	"context"
	"regexp"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/network"
	"github.com/xeroops/xeroops/provider/internal/storage"
)

// defaultRootGiB is the default of root_volume_gib.
const defaultRootGiB = 16

// The values of on_ready_timeout.
const (
	onTimeoutError = "error"
	onTimeoutWarn  = "warn"
	onTimeoutSkip  = "skip"
)

// The values of status.
const (
	statusReady      = "ready"      // every node reported ready
	statusIncomplete = "incomplete" // something is missing; the next apply repairs the cluster
	statusUnverified = "unverified" // everything exists; readiness was not waited for, or not reported
)

// maxClusterName lets "xeroops-{region}-{cluster}-{role}" fit into the 64
// characters of an IAM role's name (IAM quotas).
const maxClusterName = 28

func (r *clusterResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A cluster: its nodes and, for each role, a security group, an IAM role with an instance profile, and the objects in S3 that nodes boot from. " +
			"VPC, subnets, addresses, volumes and buckets are referenced by id, so any provider can create them. " +
			"Nodes whose image, subnet or address changes are replaced, and nodes whose type, tenancy, placement group, data volume or IPv6 address changes are stopped, changed and started, one at a time, each after the previous one has reported ready.",
		Attributes: map[string]schema.Attribute{
			"id": base.IDAttribute("The cluster's name."),
			"name": schema.StringAttribute{Required: true,
				MarkdownDescription: "Name of the cluster, unique in the account and region, of at most 28 characters.",
				Validators:          append(base.NameValidators(), stringvalidator.LengthAtMost(maxClusterName)),
				PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()}},
			"vpc_id": schema.StringAttribute{Required: true, MarkdownDescription: "Id of the VPC.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()}},
			"vpn_cidr": schema.StringAttribute{Required: true,
				MarkdownDescription: "Address range of VPN clients, which must not overlap the VPC's, such as `10.100.0.0/16`.",
				Validators:          []validator.String{network.CIDRBetween(8, 29)}},
			"buckets": bucketsAttribute(),
			"nodes": schema.MapNestedAttribute{Required: true,
				MarkdownDescription: "Nodes by name. When a node is replaced, the new EC2 instance gets its name, Elastic IP address and volume.",
				Validators:          []validator.Map{mapvalidator.SizeAtLeast(1), mapvalidator.KeysAre(append(base.NameValidators(), nodeName{})...)},
				NestedObject:        schema.NestedAttributeObject{Attributes: nodeAttributes()}},
			"settings": schema.MapAttribute{Optional: true, ElementType: types.StringType,
				MarkdownDescription: "Environment variables of every node, such as `LOG_LEVEL`, written to `/etc/environment`. Must not contain secrets.",
				Validators:          []validator.Map{mapvalidator.KeysAre(variableName())}},
			"credentials_wo": schema.MapAttribute{Optional: true, WriteOnly: true, Sensitive: true,
				ElementType: types.MapType{ElemType: types.StringType},
				Validators:  []validator.Map{mapvalidator.ValueMapsAre(mapvalidator.KeysAre(variableName()))},
				MarkdownDescription: "Secrets by role and name, such as `{ db = { POSTGRES_SUPERUSER_PASSWORD = var.password } }`. Write-only: they are stored in S3, where only nodes of that role can read them, " +
					"and never in the plan or the state. Internal secrets that are not set are generated. If a secret is changed or deleted in S3, it is restored from the bucket's versions."},
			"credentials_wo_version": schema.Int64Attribute{Optional: true, MarkdownDescription: "Increase it to write `credentials_wo` again."},
			"internal_credentials_version": schema.Int64Attribute{Optional: true, Computed: true, Default: int64default.StaticInt64(1),
				MarkdownDescription: "Increase it to generate new internal secrets, except the key of backups. Nodes read them at their next boot. Default: `1`."},
			"instance_profiles": schema.MapAttribute{Optional: true, ElementType: types.StringType,
				MarkdownDescription: "Your own instance profiles, by role. For these roles, the provider creates no IAM role.",
				Validators:          []validator.Map{mapvalidator.KeysAre(roleValidator())}},
			"iam_path": schema.StringAttribute{Optional: true,
				MarkdownDescription: "Path that IAM roles and instance profiles are created under, such as `/platform/`. It cannot be changed. Default: `/`.",
				Validators:          []validator.String{iamPath()}},
			"permissions_boundary": schema.StringAttribute{Optional: true,
				MarkdownDescription: "ARN of the policy that is the permissions boundary of all IAM roles.",
				Validators:          []validator.String{base.PolicyARNValidator()}},
			"additional_policy_arns": schema.MapAttribute{Optional: true, ElementType: types.SetType{ElemType: types.StringType},
				MarkdownDescription: "ARNs of managed policies to attach to the IAM roles, by role, such as `{ app = [aws_iam_policy.queue.arn] }`.",
				Validators: []validator.Map{mapvalidator.KeysAre(roleValidator()),
					mapvalidator.ValueSetsAre(setvalidator.SizeAtMost(maxAttachedPolicies), setvalidator.ValueStringsAre(base.PolicyARNValidator()))}},
			"exclusive_policies": schema.BoolAttribute{Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Whether to remove policies that were added to the IAM roles outside of Terraform. Until the next apply, `drift` lists them. Default: `false`."},
			"ingress":                       ingressAttribute(),
			"additional_security_group_ids": additionalGroupsAttribute(),
			"debug_access":                  debugAccessAttribute(),
			"key_name":                      schema.StringAttribute{Optional: true, MarkdownDescription: "Key pair for SSH over the VPN or the endpoint of `debug_access`. A change applies to nodes launched later."},
			"root_volume_gib": schema.Int64Attribute{Optional: true, Computed: true, Default: int64default.StaticInt64(defaultRootGiB),
				MarkdownDescription: "Size of each node's root volume in GiB. A change applies to nodes launched later. Default: `16`.",
				Validators:          []validator.Int64{int64validator.Between(8, 16384)}},
			"kms_key_id": schema.StringAttribute{Optional: true,
				MarkdownDescription: "ARN of the KMS key that encrypts the root volumes. A change applies to nodes launched later. Default: the account's default key for EBS. Data volumes are encrypted with the key of their `xeroops_volume`.",
				Validators:          []validator.String{base.KeyARNValidator()}},
			"termination_protection": schema.BoolAttribute{Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Enable termination protection of the EC2 instances. Also prevents `terraform destroy`. Default: `false`."},
			"ready_timeout": schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString("10m"),
				MarkdownDescription: "How long to wait until launched nodes report ready. Default: `10m`.",
				Validators:          []validator.String{base.DurationBetween(10*time.Second, 2*time.Hour)}},
			"on_ready_timeout": schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString(onTimeoutError),
				MarkdownDescription: "What to do when nodes are not ready within `ready_timeout`: `error` or `warn`. `skip` does not wait at all, so a rolling replacement continues as soon as an instance is running. Default: `error`.",
				Validators:          []validator.String{stringvalidator.OneOf(onTimeoutError, onTimeoutWarn, onTimeoutSkip)}},
			"status": schema.StringAttribute{Computed: true,
				MarkdownDescription: "`ready`, `incomplete` (an apply failed; the next one repairs the cluster) or `unverified` (nodes were not waited for, or were not ready and `on_ready_timeout` is `warn`)."},
			"instances": instancesAttribute(),
			"vpn":       vpnAttribute(),
			"drift":     base.DriftAttribute(),
			"tags":      base.TagsAttribute(),
			"tags_all":  base.TagsAllAttribute(),
			"timeouts":  timeouts.AttributesAll(ctx),
		},
	}
}

func instancesAttribute() schema.Attribute {
	return schema.MapNestedAttribute{Computed: true, MarkdownDescription: "EC2 instances of the nodes, by node.",
		NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"instance_id":       schema.StringAttribute{Computed: true, MarkdownDescription: "Id of the instance."},
			"availability_zone": schema.StringAttribute{Computed: true, MarkdownDescription: "Availability zone of the instance."},
			"public_ip":         schema.StringAttribute{Computed: true, MarkdownDescription: "Elastic IP address, if the node has one."},
		}}}
}

func vpnAttribute() schema.Attribute {
	return schema.SingleNestedAttribute{Computed: true, MarkdownDescription: "Endpoint and public key of the VPN gateway, for client configurations.",
		Attributes: map[string]schema.Attribute{
			"endpoint":   schema.StringAttribute{Computed: true, MarkdownDescription: "Address and port. Null without a `wireguard` node that has an Elastic IP."},
			"public_key": schema.StringAttribute{Computed: true, MarkdownDescription: "Public key. Null without a `wireguard` node."},
		}}
}

func bucketsAttribute() schema.Attribute {
	bucket := func(what string) schema.StringAttribute {
		return schema.StringAttribute{Required: true, MarkdownDescription: "Bucket of " + what + "."}
	}
	return schema.SingleNestedAttribute{Required: true, MarkdownDescription: "Names of the cluster's buckets. At present, nodes use `uploads` only.",
		Attributes: map[string]schema.Attribute{
			"uploads": bucket("configuration, credentials, boot reports and application bundles. It cannot be changed. Nodes may use the KMS keys that encrypt the buckets by default, through S3 only; a key's policy must delegate access to IAM policies, as the default key policy does"),
			"pgdump":  bucket("logical backups (dumps), which nodes do not write yet"),
			"walg":    bucket("physical backups and write-ahead logs, which nodes do not write yet"),
			"logs":    bucket("logs of the nodes, which they do not write yet, and of VPC flow logs if you send them there"),
		}}
}

func nodeAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"role": schema.StringAttribute{Required: true, Validators: []validator.String{roleValidator()},
			MarkdownDescription: "`openresty-lb`, `wireguard`, `app`, `management` or `db`."},
		"instance_type": schema.StringAttribute{Required: true, MarkdownDescription: "Instance type, such as `t3.small`.",
			Validators: []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`), "must be an instance type such as t3.small")}},
		"subnet_id": schema.StringAttribute{Required: true, MarkdownDescription: "Id of the subnet."},
		"address": schema.StringAttribute{Required: true, MarkdownDescription: "Fixed private IPv4 address within the subnet.",
			Validators: []validator.String{ipv4{}}},
		"ipv6_address": schema.StringAttribute{Optional: true, Validators: []validator.String{ipv6{}},
			MarkdownDescription: "Public IPv6 address of an `openresty-lb` node, for its AAAA record: one in the subnet's `ipv6_cidr`, such as `cidrhost(xeroops_subnet.public.ipv6_cidr, 16)`. " +
				"Its ports for the internet are then open to IPv6. A running instance is stopped to change the address and started again, and its successors get the same address."},
		"image_id":  schema.StringAttribute{Required: true, MarkdownDescription: "Id of an image for the role, such as from `data.xeroops_image`."},
		"eip_id":    schema.StringAttribute{Optional: true, MarkdownDescription: "Allocation id of an Elastic IP address."},
		"volume_id": schema.StringAttribute{Optional: true, MarkdownDescription: "Id of a data volume in the subnet's zone."},
		"tags": schema.MapAttribute{Optional: true, ElementType: types.StringType, Validators: base.TagValidators(),
			MarkdownDescription: "Tags of the node's instance, root volume and network interface, in addition to the cluster's. They override tags of the cluster with the same key, and are changed in place."},
		"monitoring": schema.BoolAttribute{Optional: true,
			MarkdownDescription: "Detailed monitoring: metrics of the instance every minute in place of every five, at a charge. Default: `false`."},
		"cpu_credits": schema.StringAttribute{Optional: true, Validators: []validator.String{stringvalidator.OneOf(creditsStandard, creditsUnlimited)},
			MarkdownDescription: "What an instance of a T type does without CPU credits: `standard` slows down, `unlimited` goes on at a charge. Default: that of the type and account, `unlimited` for T3 and later."},
		"spot": schema.BoolAttribute{Optional: true,
			MarkdownDescription: "Run the node as a Spot Instance, only for role `app`. AWS may end it with two minutes' notice; it shuts down as at a stop, and the next apply launches it anew. " +
				"Termination protection does not apply to it, and another instance type, tenancy or placement group replaces it. If `kms_key_id` is set, the key's policy has to allow the service-linked role `AWSServiceRoleForEC2Spot` to use it. Default: `false`."},
		"tenancy": schema.StringAttribute{Optional: true, Validators: []validator.String{stringvalidator.OneOf(tenancyDefault, tenancyDedicated)},
			MarkdownDescription: "`dedicated` runs the instance on hardware of this account only, at a charge, `default` on shared hardware. A running instance is stopped to change it and started again. Default: the VPC's, usually `default`."},
		"placement_group": schema.StringAttribute{Optional: true, Validators: []validator.String{stringvalidator.LengthBetween(1, 255)},
			MarkdownDescription: "Name of an existing placement group. A running instance is stopped to move it to, from or between groups, and started again; if AWS has no capacity there, it is started where it was."},
		"root_volume_iops": schema.Int64Attribute{Optional: true, Validators: []validator.Int64{int64validator.Between(storage.GP3MinIOPS, storage.GP3MaxIOPS)},
			MarkdownDescription: "I/O operations per second of the root volume: 3,000 to 80,000, and at most 500 per GiB of `root_volume_gib`. Changed in place. Default: 3,000."},
		"root_volume_throughput": schema.Int64Attribute{Optional: true, Validators: []validator.Int64{int64validator.Between(storage.GP3MinThroughputMiBps, storage.GP3MaxThroughputMiBps)},
			MarkdownDescription: "Throughput of the root volume in MiB/s: 125 to 2,000, and at most a quarter of `root_volume_iops`. Changed in place. Default: 125."},
	}
}

// maxAttachedPolicies is the maximum of managed policies per role that AWS grants
// on request; the quota of a new account is 10 (IAM user guide, "IAM and AWS STS
// quotas").
const maxAttachedPolicies = 25

// iamPath validates the path of an IAM role. IAM allows 512 characters, which
// include the cluster's own part.
func iamPath() validator.String {
	return stringvalidator.RegexMatches(regexp.MustCompile(`^/([!-~]{1,440}/)?$`), "must begin and end with /, such as /platform/, and have at most 442 characters")
}

func roleValidator() validator.String {
	names := make([]string, 0, len(model.Roles()))
	for _, role := range model.Roles() {
		names = append(names, string(role))
	}
	return stringvalidator.OneOf(names...)
}

func variableName() validator.String {
	return stringvalidator.RegexMatches(regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`), "must be letters, digits and _, and must not begin with a digit")
}
