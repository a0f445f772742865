# The cluster, its uploads bucket, and the peer.
terraform import xeroops_vpn_peer.laptop production/uploads-123456789012/laptop
