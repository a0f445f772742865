# Its name is the prefix and the account's id: uploads-123456789012.
resource "xeroops_bucket" "uploads" {
  prefix = "uploads"
}

# A name of your own, and objects that expire.
resource "xeroops_bucket" "logs" {
  name            = "example-shop-logs"
  lifecycle_rules = [{ expire_days = 90 }]
}

# An archive, whose objects move to colder storage classes, and that nobody can delete
# for a month.
resource "xeroops_bucket" "archive" {
  prefix      = "archive"
  object_lock = { mode = "GOVERNANCE", days = 30 }
  access_log  = { bucket = xeroops_bucket.access.id, prefix = "archive/" }
  lifecycle_rules = [{
    expire_days = 365
    transitions = [
      { days = 30, storage_class = "STANDARD_IA" },
      { days = 90, storage_class = "GLACIER" },
    ]
    noncurrent_expire_days = 90
  }]

  # Another account may read. All other accounts stay denied.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "111122223333" }
      Action    = ["s3:ListBucket", "s3:GetObject"]
    }]
  })
}

# The records of the requests to other buckets.
resource "xeroops_bucket" "access" {
  prefix              = "access"
  receive_access_logs = true
  lifecycle_rules     = [{ expire_days = 90 }]
}
