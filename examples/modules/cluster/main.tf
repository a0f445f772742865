# The reference cluster: a VPC with a public and a private subnet, an edge, a VPN
# gateway, a management node, and any number of app and database nodes.

locals {
  plan = provider::xeroops::address_plan(var.vpc_cidr, var.app_count, var.db_count)

  public_nodes   = [for name, node in local.plan.nodes : name if node.subnet == "public"]
  database_nodes = [for name, node in local.plan.nodes : name if node.role == "db"]
}

resource "xeroops_vpc" "this" {
  name = var.name
  cidr = var.vpc_cidr
  tags = var.tags
}

resource "xeroops_subnet" "this" {
  for_each = local.plan.subnets

  name              = "${var.name}-${each.key}"
  vpc_id            = xeroops_vpc.this.id
  type              = each.key
  cidr              = each.value
  availability_zone = var.availability_zone
  tags              = var.tags
}

resource "xeroops_eip" "this" {
  for_each = toset(local.public_nodes)

  name = "${var.name}-${each.key}"
  tags = var.tags
}

resource "xeroops_volume" "data" {
  for_each = toset(local.database_nodes)

  name              = "${var.name}-${each.key}-data"
  availability_zone = var.availability_zone
  size_gib          = var.db_volume_gib
  final_snapshot    = var.keep_data
  tags              = var.tags
}

resource "xeroops_bucket" "this" {
  for_each = toset(["uploads", "pgdump", "walg", "logs"])

  prefix        = "${var.bucket_prefix}${each.key}"
  force_destroy = !var.keep_data
  tags          = var.tags
}

resource "xeroops_cluster" "this" {
  name     = var.name
  vpc_id   = xeroops_vpc.this.id
  vpn_cidr = var.vpn_cidr
  buckets  = { for kind, bucket in xeroops_bucket.this : kind => bucket.id }

  nodes = {
    for name, node in local.plan.nodes : name => {
      role          = node.role
      instance_type = lookup(var.instance_types, node.role, "t3.small")
      image_id      = var.image_ids[node.role]
      subnet_id     = xeroops_subnet.this[node.subnet].id
      address       = node.address
      eip_id        = contains(local.public_nodes, name) ? xeroops_eip.this[name].id : null
      volume_id     = contains(local.database_nodes, name) ? xeroops_volume.data[name].id : null
    }
  }

  settings               = var.settings
  credentials_wo         = var.credentials
  credentials_wo_version = var.credentials_version

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
