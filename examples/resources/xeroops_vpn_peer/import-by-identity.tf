import {
  to = xeroops_vpn_peer.laptop
  identity = {
    cluster        = "production"
    uploads_bucket = "uploads-123456789012"
    name           = "laptop"
  }
}
