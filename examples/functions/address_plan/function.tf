locals {
  plan = provider::xeroops::address_plan("10.0.0.0/16", 3) # three app nodes, and two db nodes by default
}

# { public = "10.0.1.0/24", private = "10.0.2.0/24" }
output "subnets" {
  value = local.plan.subnets
}

# { address = "10.0.2.12", role = "app", subnet = "private" }
output "third_app_node" {
  value = local.plan.nodes["app3"]
}
