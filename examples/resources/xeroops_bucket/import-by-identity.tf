import {
  to = xeroops_bucket.uploads
  identity = {
    id = "uploads-123456789012"
  }
}
