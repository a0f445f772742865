# The id of the volume.
terraform import xeroops_volume.db1 vol-0a1b2c3d4e5f60718
