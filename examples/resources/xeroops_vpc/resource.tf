resource "xeroops_vpc" "main" {
  name = "production"
  cidr = "10.0.0.0/16"
}
