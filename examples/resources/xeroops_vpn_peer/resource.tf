# The client generates the key pair: wg genkey | tee private.key | wg pubkey
resource "xeroops_vpn_peer" "laptop" {
  cluster        = "production"
  uploads_bucket = "uploads-123456789012"
  name           = "laptop"
  public_key     = "MAjW81XTPTjS9IuEwpEfM6QkyF7sYZXbB2pCYNsvOF8="
}

# For the client, which replaces <private key>.
output "laptop_config" {
  value = xeroops_vpn_peer.laptop.client_config
}
