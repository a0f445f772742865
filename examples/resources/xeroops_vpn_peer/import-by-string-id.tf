import {
  to = xeroops_vpn_peer.laptop
  id = "production/uploads-123456789012/laptop"
}
