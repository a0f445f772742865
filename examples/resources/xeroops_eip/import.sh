# The allocation id of the address.
terraform import xeroops_eip.edge eipalloc-0a1b2c3d4e5f60718
