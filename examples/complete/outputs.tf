output "edge_address" {
  description = "Public address of the edge: where DNS records point."
  value       = module.cluster.edge_address
}

output "status" {
  description = "ready, or incomplete."
  value       = module.cluster.status
}

output "vpn" {
  description = "The gateway's endpoint and public key."
  value       = module.cluster.vpn
}

output "vpn_client_configs" {
  description = "Configurations of the VPN's clients, without their private keys."
  value       = { for name, peer in xeroops_vpn_peer.this : name => peer.client_config }
}
