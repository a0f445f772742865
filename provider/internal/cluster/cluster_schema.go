package cluster

import (
	"context"
	"regexp"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
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
)

// What a readiness that does not come in time means.
const (
	onTimeoutError = "error"
	onTimeoutWarn  = "warn"
	onTimeoutSkip  = "skip"
)

// The values of status.
const (
	statusReady      = "ready"      // every node reported ready
	statusIncomplete = "incomplete" // something is missing; the next apply repairs it
	statusUnverified = "unverified" // everything is there; readiness was not waited for, or did not come
)

// maxClusterName leaves room for "xeroops-{region}-{cluster}-{role}" in the 64
// characters of an IAM role's name (IAM quotas).
const maxClusterName = 28

func (r *clusterResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A cluster: its nodes, and per role a security group, an IAM role with an instance profile, and the objects in S3 that nodes boot from. " +
			"VPC, subnets, addresses, volumes and buckets are taken by id, so they may come from any provider. " +
			"A node whose image, type, subnet or address changes is replaced, one at a time, each after the one before has reported ready.",
		Attributes: map[string]schema.Attribute{
			"id": base.IDAttribute("The cluster's name."),
			"name": schema.StringAttribute{Required: true,
				MarkdownDescription: "Name of the cluster, unique in the account and region; up to 28 characters.",
				Validators:          append(base.NameValidators(), stringvalidator.LengthAtMost(maxClusterName)),
				PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()}},
			"vpc_id": schema.StringAttribute{Required: true, MarkdownDescription: "Id of the VPC.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()}},
			"vpn_cidr": schema.StringAttribute{Required: true,
				MarkdownDescription: "Range of VPN clients' addresses, outside the VPC's own, such as `10.100.0.0/16`.",
				Validators:          []validator.String{network.CIDRBetween(8, 29)}},
			"buckets": bucketsAttribute(),
			"nodes": schema.MapNestedAttribute{Required: true,
				MarkdownDescription: "Nodes by name. A name, once given, stays with the role and the address; the EC2 instance behind it may change.",
				Validators:          []validator.Map{mapvalidator.SizeAtLeast(1), mapvalidator.KeysAre(base.NameValidators()...)},
				NestedObject:        schema.NestedAttributeObject{Attributes: nodeAttributes()}},
			"settings": schema.MapAttribute{Optional: true, ElementType: types.StringType,
				MarkdownDescription: "Environment of every node, such as `LOG_LEVEL`; no secrets. Ends up in `/etc/environment`.",
				Validators:          []validator.Map{mapvalidator.KeysAre(variableName())}},
			"credentials_wo": schema.MapAttribute{Optional: true, WriteOnly: true, Sensitive: true,
				ElementType: types.MapType{ElemType: types.StringType},
				MarkdownDescription: "Secrets by role and name, such as `{ db = { POSTGRES_SUPERUSER_PASSWORD = var.password } }`. Write-only: they go to S3, where only that role can read them, " +
					"and never into the plan or the state. Internal secrets that are not given are generated. What somebody changes or deletes in S3 comes back from the bucket's versions."},
			"credentials_wo_version": schema.Int64Attribute{Optional: true, MarkdownDescription: "Raise it to write `credentials_wo` again."},
			"internal_credentials_version": schema.Int64Attribute{Optional: true, Computed: true, Default: int64default.StaticInt64(1),
				MarkdownDescription: "Raise it to make new internal secrets, except the key of backups. Nodes take them at their next boot. Default: `1`."},
			"instance_profiles": schema.MapAttribute{Optional: true, ElementType: types.StringType,
				MarkdownDescription: "Instance profiles of your own, by role; the provider makes none for these roles. From the roles that it makes, it takes away the policies that others attach.",
				Validators:          []validator.Map{mapvalidator.KeysAre(roleValidator())}},
			"key_name": schema.StringAttribute{Optional: true, MarkdownDescription: "Key pair for SSH over the VPN, for nodes launched from now on."},
			"root_volume_gib": schema.Int64Attribute{Optional: true, Computed: true, Default: int64default.StaticInt64(16),
				MarkdownDescription: "Size of each node's root volume, for nodes launched from now on. Default: `16`.",
				Validators:          []validator.Int64{int64validator.Between(8, 16384)}},
			"termination_protection": schema.BoolAttribute{Optional: true, Computed: true, Default: booldefault.StaticBool(false),
				MarkdownDescription: "Protect nodes against termination by anybody, this provider's destroy included. Default: `false`."},
			"ready_timeout": schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString("10m"),
				MarkdownDescription: "How long to wait for the boot reports of nodes, each time some are launched. Default: `10m`.",
				Validators:          []validator.String{base.DurationBetween(10*time.Second, 2*time.Hour)}},
			"on_ready_timeout": schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString(onTimeoutError),
				MarkdownDescription: "What it means if they do not come: `error`, `warn`, or `skip`, which does not wait at all; a rolling replacement then goes on as soon as an instance runs. Default: `error`.",
				Validators:          []validator.String{stringvalidator.OneOf(onTimeoutError, onTimeoutWarn, onTimeoutSkip)}},
			"status": schema.StringAttribute{Computed: true,
				MarkdownDescription: "`ready`, `incomplete` (the next apply repairs) or `unverified` (readiness was skipped or only warned of)."},
			"instances": schema.MapNestedAttribute{Computed: true, MarkdownDescription: "The EC2 instances behind the nodes, by node.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"instance_id":       schema.StringAttribute{Computed: true, MarkdownDescription: "Id of the instance."},
					"availability_zone": schema.StringAttribute{Computed: true, MarkdownDescription: "Its zone."},
					"public_ip":         schema.StringAttribute{Computed: true, MarkdownDescription: "Its Elastic IP address, if the node has one."},
				}}},
			"vpn": schema.SingleNestedAttribute{Computed: true, MarkdownDescription: "What VPN clients have to know of the gateway.",
				Attributes: map[string]schema.Attribute{
					"endpoint":   schema.StringAttribute{Computed: true, MarkdownDescription: "Address and port; null without a `wireguard` node that has an Elastic IP."},
					"public_key": schema.StringAttribute{Computed: true, MarkdownDescription: "Public key; null without a `wireguard` node."},
				}},
			"drift":    base.DriftAttribute(),
			"tags":     base.TagsAttribute(),
			"tags_all": base.TagsAllAttribute(),
			"timeouts": timeouts.AttributesAll(ctx),
		},
	}
}

func bucketsAttribute() schema.Attribute {
	bucket := func(what string) schema.StringAttribute {
		return schema.StringAttribute{Required: true, MarkdownDescription: "Bucket of " + what + "."}
	}
	return schema.SingleNestedAttribute{Required: true, MarkdownDescription: "Names of the cluster's buckets.",
		Attributes: map[string]schema.Attribute{
			"uploads": bucket("configuration, credentials, boot reports and application bundles; it cannot change. Where a bucket has a KMS key of its own, the key's policy has to allow the nodes' roles"),
			"pgdump":  bucket("logical backups"),
			"walg":    bucket("physical backups and write-ahead logs"),
			"logs":    bucket("logs"),
		}}
}

func nodeAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"role": schema.StringAttribute{Required: true, Validators: []validator.String{roleValidator()},
			MarkdownDescription: "`openresty-lb`, `wireguard`, `app`, `management` or `db`."},
		"instance_type": schema.StringAttribute{Required: true, MarkdownDescription: "Instance type, such as `t3.small`.",
			Validators: []validator.String{stringvalidator.RegexMatches(regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`), "not an instance type such as t3.small")}},
		"subnet_id": schema.StringAttribute{Required: true, MarkdownDescription: "Id of the subnet."},
		"address": schema.StringAttribute{Required: true, MarkdownDescription: "Fixed private IPv4 address within the subnet.",
			Validators: []validator.String{ipv4{}}},
		"image_id":  schema.StringAttribute{Required: true, MarkdownDescription: "Id of the role's image, as `data.xeroops_image` finds it."},
		"eip_id":    schema.StringAttribute{Optional: true, MarkdownDescription: "Allocation id of an Elastic IP address."},
		"volume_id": schema.StringAttribute{Optional: true, MarkdownDescription: "Id of a data volume in the subnet's zone."},
	}
}

func roleValidator() validator.String {
	names := make([]string, 0, len(model.Roles()))
	for _, role := range model.Roles() {
		names = append(names, string(role))
	}
	return stringvalidator.OneOf(names...)
}

func variableName() validator.String {
	return stringvalidator.RegexMatches(regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`), "a variable's name is letters, digits and _, not beginning with a digit")
}
