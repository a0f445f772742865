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
    allowed_domains = ["deb.debian.org", "acme-v02.api.letsencrypt.org"]
  }

  flow_logs = {
    bucket       = "example-shop-flow-logs"
    prefix       = "guarded"
    traffic_type = "REJECT"
  }
}

# What the policy of that bucket has to contain before, in account 123456789012 and the
# region eu-west-1.
locals {
  flow_log_statements = [
    {
      Sid       = "AWSLogDeliveryWrite"
      Effect    = "Allow"
      Principal = { Service = "delivery.logs.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${var.flow_logs_bucket_arn}/guarded/AWSLogs/123456789012/*"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "123456789012", "s3:x-amz-acl" = "bucket-owner-full-control" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:logs:eu-west-1:123456789012:*" }
      }
    },
    {
      Sid       = "AWSLogDeliveryAclCheck"
      Effect    = "Allow"
      Principal = { Service = "delivery.logs.amazonaws.com" }
      Action    = ["s3:GetBucketAcl", "s3:ListBucket"]
      Resource  = var.flow_logs_bucket_arn
      Condition = {
        StringEquals = { "aws:SourceAccount" = "123456789012" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:logs:eu-west-1:123456789012:*" }
      }
    },
  ]
}

variable "flow_logs_bucket_arn" {
  type = string
}
