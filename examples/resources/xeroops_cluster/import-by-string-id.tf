import {
  to = xeroops_cluster.main
  id = "production"
}
