resource "xeroops_vpc" "main" {
  name = "production"
  cidr = "10.0.0.0/16"
}

# With IPv6 for the edge, a resolver that answers for S3 and these domains only, and a
# flow log of refused traffic.
resource "xeroops_vpc" "guarded" {
  name = "guarded"
  cidr = "10.1.0.0/16"
  ipv6 = true

  dns_firewall = {
    allowed_domains = ["packages.example.org", "acme-v02.api.letsencrypt.org"]
  }

  flow_logs = {
    bucket       = xeroops_bucket.flow_logs.id
    prefix       = "guarded"
    traffic_type = "REJECT"
  }
}

resource "xeroops_bucket" "flow_logs" {
  prefix            = "flow-logs"
  receive_flow_logs = true
  lifecycle_rules   = [{ expire_days = 90 }]
}
