# The resources that the cluster uses; they may come from another provider.

data "xeroops_availability_zones" "available" {}

resource "xeroops_vpc" "main" {
  name = "production"
  cidr = "10.0.0.0/16"
}

resource "xeroops_subnet" "public" {
  name              = "production-public"
  vpc_id            = xeroops_vpc.main.id
  type              = "public"
  cidr              = "10.0.1.0/24"
  availability_zone = data.xeroops_availability_zones.available.names[0]
}

resource "xeroops_subnet" "private" {
  name              = "production-private"
  vpc_id            = xeroops_vpc.main.id
  type              = "private"
  cidr              = "10.0.2.0/24"
  availability_zone = data.xeroops_availability_zones.available.names[0]
}

resource "xeroops_eip" "edge" {
  name = "production-edge"
}

resource "xeroops_eip" "gateway" {
  name = "production-gateway"
}

resource "xeroops_volume" "db1" {
  name              = "production-db1-data"
  availability_zone = data.xeroops_availability_zones.available.names[0]
  size_gib          = 20
}

resource "xeroops_bucket" "all" {
  for_each = toset(["uploads", "pgdump", "walg", "logs"])

  prefix = each.key
}

data "xeroops_image" "all" {
  for_each = toset(["openresty-lb", "wireguard", "app", "management", "db"])

  role = each.key
}
