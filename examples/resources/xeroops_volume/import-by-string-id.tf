import {
  to = xeroops_volume.db1
  id = "vol-0a1b2c3d4e5f60718"
}
