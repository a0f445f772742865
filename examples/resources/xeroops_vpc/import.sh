# The id of the VPC.
terraform import xeroops_vpc.main vpc-0a1b2c3d4e5f60718
