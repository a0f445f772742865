import {
  to = xeroops_flow_log.main
  identity = {
    id = "fl-0a1b2c3d4e5f60718"
  }
}
