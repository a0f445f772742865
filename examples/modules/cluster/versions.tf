terraform {
  required_version = ">= 1.11" # write-only attributes

  required_providers {
    xeroops = {
      source = "xeroops/xeroops"
    }
  }
}
