import {
  to = xeroops_cluster.main
  identity = {
    name = "production"
  }
}
