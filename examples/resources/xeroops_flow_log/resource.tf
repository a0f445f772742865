# Refused traffic, kept for 90 days.
resource "xeroops_flow_log" "main" {
  name         = "production"
  vpc_id       = xeroops_vpc.main.id
  bucket       = xeroops_bucket.flow_logs.id
  prefix       = "production"
  traffic_type = "REJECT"
}

resource "xeroops_bucket" "flow_logs" {
  prefix            = "flow-logs"
  receive_flow_logs = true
  lifecycle_rules   = [{ expire_days = 90 }]
}

resource "xeroops_vpc" "main" {
  name = "production"
  cidr = "10.0.0.0/16"
}
