terraform {
  required_version = ">= 1.11" # write-only attributes

  required_providers {
    xeroops = {
      source = "xeroops/xeroops"
    }
  }
}

# Region and credentials are found as the AWS CLI finds them, where they are not
# given here.
provider "xeroops" {
  region              = "eu-west-1"
  allowed_account_ids = ["123456789012"]

  default_tags = {
    project = "shop"
  }
}
