resource "xeroops_eip" "edge" {
  name = "production-edge"
}

output "edge_address" {
  value = xeroops_eip.edge.public_ip
}
