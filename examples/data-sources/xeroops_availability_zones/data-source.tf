data "xeroops_availability_zones" "available" {}

# The first two zones, of which the first need not be "a".
locals {
  zones = slice(data.xeroops_availability_zones.available.names, 0, 2)
}
