data "xeroops_availability_zones" "available" {}

resource "xeroops_vpc" "main" {
  name = "production"
  cidr = "10.0.0.0/16"
}

# Its route table leads to the internet gateway.
resource "xeroops_subnet" "public" {
  name              = "production-public"
  vpc_id            = xeroops_vpc.main.id
  type              = "public"
  cidr              = "10.0.1.0/24"
  availability_zone = data.xeroops_availability_zones.available.names[0]
}

# Its route table has the S3 endpoint and nothing else.
resource "xeroops_subnet" "private" {
  name              = "production-private"
  vpc_id            = xeroops_vpc.main.id
  type              = "private"
  cidr              = "10.0.2.0/24"
  availability_zone = data.xeroops_availability_zones.available.names[0]
}
