# The key pair is made where it is used: wg genkey | tee private.key | wg pubkey
resource "xeroops_vpn_peer" "laptop" {
  cluster        = "production"
  uploads_bucket = "uploads-123456789012"
  name           = "laptop"
  public_key     = "MAjW81XTPTjS9IuEwpEfM6QkyF7sYZXbB2pCYNsvOF8="
}

# For the peer's owner, who puts the private key in place of <private key>.
output "laptop_config" {
  value = xeroops_vpn_peer.laptop.client_config
}
