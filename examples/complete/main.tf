# The reference cluster in two zones of one region: seven nodes, their network, storage
# and images. Needs images: build them with packer build first.

terraform {
  required_version = ">= 1.11" # write-only attributes

  required_providers {
    xeroops = {
      source = "xeroops/xeroops"
    }
  }
}

provider "xeroops" {
  region       = var.region
  owner        = var.owner
  default_tags = { project = var.name }
}

# The newest image of each role that is not in image_ids. Set all of them if a new
# image should reach the cluster only through a reviewed change.
data "xeroops_image" "this" {
  for_each = setsubtract(["openresty-lb", "wireguard", "app", "management", "db"], keys(var.image_ids))

  role = each.key
}

module "cluster" {
  source = "../modules/cluster"

  name               = var.name
  availability_zones = var.availability_zones
  image_ids          = merge({ for role, image in data.xeroops_image.this : role => image.id }, var.image_ids)

  app_count            = var.app_count
  instance_types       = { db = "t3.medium" }
  settings             = { LOG_LEVEL = "info" }
  permissions_boundary = var.permissions_boundary
  keep_data            = var.keep_data
  on_ready_timeout     = var.on_ready_timeout
}

resource "xeroops_vpn_peer" "this" {
  for_each = var.vpn_peers

  cluster        = module.cluster.name
  uploads_bucket = module.cluster.buckets.uploads
  name           = each.key
  public_key     = each.value
}
