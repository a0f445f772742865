# Its name is the prefix and the account's id: uploads-123456789012.
resource "xeroops_bucket" "uploads" {
  prefix = "uploads"
}

# A name of your own, and objects that expire.
resource "xeroops_bucket" "logs" {
  name            = "example-shop-logs"
  lifecycle_rules = [{ expire_days = 90 }]
}
