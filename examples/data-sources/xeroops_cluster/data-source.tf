# Fails unless every node has reported that it is ready.
data "xeroops_cluster" "main" {
  name           = "production"
  uploads_bucket = "uploads-123456789012"
  require_ready  = true
}

output "edge" {
  value = data.xeroops_cluster.main.endpoints.edge
}
