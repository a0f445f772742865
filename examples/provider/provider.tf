terraform {
  required_version = ">= 1.11" # write-only attributes

  required_providers {
    xeroops = {
      source = "xeroops/xeroops"
    }
  }
}

# Arguments that are not set default to the AWS CLI's sources of region and
# credentials.
provider "xeroops" {
  region              = "eu-west-1"
  allowed_account_ids = ["123456789012"]
  owner               = "shop-prod"

  default_tags = {
    project = "shop"
  }
}
