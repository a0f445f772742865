output "name" {
  description = "Name of the cluster, known once it exists."
  value       = xeroops_cluster.this.name
}

output "status" {
  description = "ready, or incomplete."
  value       = xeroops_cluster.this.status
}

output "vpc_id" {
  description = "Id of the VPC."
  value       = xeroops_vpc.this.id
}

output "availability_zones" {
  description = "Zones of the cluster. The first has the edge, the gateway and the management node."
  value       = local.zones
}

output "subnet_ids" {
  description = "Ids of the subnets: public, private and, in the second zone, public-2 and private-2."
  value       = { for kind, subnet in xeroops_subnet.this : kind => subnet.id }
}

output "buckets" {
  description = "Names of the buckets: uploads, and those for dumps (pgdump), backups (walg) and logs, which nodes do not write yet."
  value       = { for kind, bucket in xeroops_bucket.this : kind => bucket.id }
}

output "edge_address" {
  description = "Public address of the edge: where DNS records point."
  value       = xeroops_eip.this["edge"].public_ip
}

output "edge_ipv6_address" {
  description = "Public IPv6 address of the edge, for AAAA records; null without ipv6."
  value       = var.ipv6 ? cidrhost(xeroops_subnet.this["public"].ipv6_cidr, 16) : null
}

output "instances" {
  description = "Instances by node name."
  value       = xeroops_cluster.this.instances
}

output "vpn" {
  description = "The gateway's endpoint and public key."
  value       = xeroops_cluster.this.vpn
}
