import {
  to = xeroops_bucket.uploads
  id = "uploads-123456789012"
}
