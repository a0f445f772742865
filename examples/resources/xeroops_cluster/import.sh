# The name of the cluster.
terraform import xeroops_cluster.main production
