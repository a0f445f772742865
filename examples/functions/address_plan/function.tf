locals {
  plan = provider::xeroops::address_plan("10.0.0.0/16", 3) # three app nodes, and two db nodes by default
}

# { public = "10.0.1.0/24", private = "10.0.2.0/24" }
output "subnets" {
  value = local.plan.subnets
}

# { address = "10.0.2.12", role = "app", subnet = "private", zone = null }
output "third_app_node" {
  value = local.plan.nodes["app3"]
}

data "xeroops_availability_zones" "available" {}

locals {
  plan_of_two_zones = provider::xeroops::address_plan("10.0.0.0/16", 2, 2, slice(data.xeroops_availability_zones.available.names, 0, 2))
}

# In eu-west-1: { address = "10.0.4.31", role = "db", subnet = "private-2", zone = "eu-west-1b" }
output "second_database_node" {
  value = local.plan_of_two_zones.nodes["db2"]
}
