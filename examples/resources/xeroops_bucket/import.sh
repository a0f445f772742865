# The name of the bucket.
terraform import xeroops_bucket.uploads uploads-123456789012
