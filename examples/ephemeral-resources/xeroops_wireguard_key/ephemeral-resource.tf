# A key pair that exists only during the run. To keep it, pass it to a write-only
# attribute or to a module that does: here as the gateway's key, which is generated
# otherwise.
ephemeral "xeroops_wireguard_key" "gateway" {}

module "cluster" {
  source = "../../modules/cluster" # examples/modules/cluster in XeroOps' repository

  name      = "production"
  image_ids = { for role, image in data.xeroops_image.all : role => image.id }

  credentials         = { wireguard = { WIREGUARD_PRIVATE_KEY = ephemeral.xeroops_wireguard_key.gateway.private_key } }
  credentials_version = 1 # increase it to write another key
}

data "xeroops_image" "all" {
  for_each = toset(["openresty-lb", "wireguard", "app", "management", "db"])

  role = each.key
}
