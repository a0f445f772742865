resource "xeroops_vpc" "main" {
  name = "production"
  cidr = "10.0.0.0/16"
}

# With IPv6 for the edge, and a resolver that answers for S3 and these domains only.
resource "xeroops_vpc" "guarded" {
  name = "guarded"
  cidr = "10.1.0.0/16"
  ipv6 = true

  dns_firewall = {
    allowed_domains = ["packages.example.org", "acme-v02.api.letsencrypt.org"]
  }
}
