# The reference cluster: in each zone a public and a private subnet with app and
# database nodes spread over them, and in the first zone an edge, a VPN gateway and a
# management node.

locals {
  zones = var.availability_zones != null ? var.availability_zones : terraform_data.zones[0].input
  plan  = provider::xeroops::address_plan(var.vpc_cidr, var.app_count, var.db_count, local.zones)

  public_nodes   = [for name, node in local.plan.nodes : name if startswith(node.subnet, "public")]
  database_nodes = { for name, node in local.plan.nodes : name => node if node.role == "db" }
}

data "xeroops_availability_zones" "this" {
  count = var.availability_zones == null ? 1 : 0
}

# The zones of the first apply. If AWS lists other zones later, no node moves.
resource "terraform_data" "zones" {
  count = var.availability_zones == null ? 1 : 0

  input = slice(data.xeroops_availability_zones.this[0].names, 0, min(2, length(data.xeroops_availability_zones.this[0].names)))

  lifecycle {
    ignore_changes = [input]
  }
}

resource "xeroops_vpc" "this" {
  name         = var.name
  cidr         = var.vpc_cidr
  ipv6         = var.ipv6
  dns_firewall = var.dns_firewall
  tags         = var.tags
}

resource "xeroops_subnet" "this" {
  for_each = local.plan.subnets

  name              = "${var.name}-${each.key}"
  vpc_id            = xeroops_vpc.this.id
  type              = startswith(each.key, "public") ? "public" : "private"
  cidr              = each.value
  ipv6_cidr         = var.ipv6 && startswith(each.key, "public") ? cidrsubnet(xeroops_vpc.this.ipv6_cidr, 8, tonumber(try(split("-", each.key)[1], 1))) : null
  availability_zone = local.plan.zones[each.key]
  tags              = var.tags
}

resource "xeroops_eip" "this" {
  for_each = toset(local.public_nodes)

  name = "${var.name}-${each.key}"
  tags = var.tags
}

# A volume is in the zone of its node. If the node moves, the new volume has another
# name and exists before the former one is destroyed, with a final snapshot: the node
# is replaced in between, and copies the database from the primary.
resource "xeroops_volume" "data" {
  for_each = local.database_nodes

  name              = "${var.name}-${each.key}-data${trimprefix(each.value.subnet, "private")}"
  availability_zone = each.value.zone
  size_gib          = var.db_volume_gib
  kms_key_id        = var.kms_key_ids.data_volumes
  final_snapshot    = var.keep_data
  tags              = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "xeroops_bucket" "this" {
  for_each = toset(["uploads", "pgdump", "walg", "logs"])

  prefix            = "${var.bucket_prefix}${each.key}"
  kms_key_id        = var.kms_key_ids.buckets
  receive_flow_logs = each.key == "logs" && var.flow_logs != null
  force_destroy     = !var.keep_data
  tags              = var.tags
}

resource "xeroops_flow_log" "this" {
  count = var.flow_logs == null ? 0 : 1

  name                = var.name
  vpc_id              = xeroops_vpc.this.id
  bucket              = xeroops_bucket.this["logs"].id
  prefix              = "flow-logs"
  traffic_type        = var.flow_logs.traffic_type
  aggregation_seconds = var.flow_logs.aggregation_seconds
  tags                = var.tags
}

resource "xeroops_cluster" "this" {
  name     = var.name
  vpc_id   = xeroops_vpc.this.id
  vpn_cidr = var.vpn_cidr
  buckets  = { for kind, bucket in xeroops_bucket.this : kind => bucket.id }

  nodes = {
    for name, node in local.plan.nodes : name => merge({
      role          = node.role
      instance_type = lookup(var.instance_types, node.role, "t3.small")
      image_id      = var.image_ids[node.role]
      subnet_id     = xeroops_subnet.this[node.subnet].id
      address       = node.address
      ipv6_address  = var.ipv6 && node.role == "openresty-lb" ? cidrhost(xeroops_subnet.this[node.subnet].ipv6_cidr, 16) : null
      eip_id        = contains(local.public_nodes, name) ? xeroops_eip.this[name].id : null
      volume_id     = contains(keys(local.database_nodes), name) ? xeroops_volume.data[name].id : null
    }, try(var.node_options[node.role], {}))
  }

  settings                     = var.settings
  credentials_wo               = var.credentials
  credentials_wo_version       = var.credentials_version
  internal_credentials_version = var.internal_credentials_version

  instance_profiles      = var.instance_profiles
  iam_path               = var.iam_path
  permissions_boundary   = var.permissions_boundary
  additional_policy_arns = var.additional_policy_arns
  exclusive_policies     = var.exclusive_policies

  ingress                       = var.ingress
  additional_security_group_ids = var.additional_security_group_ids
  debug_access                  = var.debug_access

  key_name               = var.key_name
  root_volume_gib        = var.root_volume_gib
  kms_key_id             = var.kms_key_ids.root_volumes
  termination_protection = var.termination_protection

  ready_timeout    = var.ready_timeout
  on_ready_timeout = var.on_ready_timeout
  tags             = var.tags
}

# The gate. Once instances exist, xeroops_cluster returns a warning instead of an
# error if a node is not ready, because Terraform would otherwise destroy all of them
# in the next apply. The gate makes the run fail; the next apply repairs the cluster.
# depends_on delays its read until after the repair.
data "xeroops_cluster" "this" {
  name           = xeroops_cluster.this.name
  uploads_bucket = xeroops_bucket.this["uploads"].id
  require_ready  = var.on_ready_timeout == "error"

  depends_on = [xeroops_cluster.this]
}
