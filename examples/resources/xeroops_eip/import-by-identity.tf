import {
  to = xeroops_eip.edge
  identity = {
    id = "eipalloc-0a1b2c3d4e5f60718"
  }
}
