variable "database_password" {
  type      = string
  ephemeral = true
}

resource "xeroops_cluster" "main" {
  name     = "production"
  vpc_id   = xeroops_vpc.main.id
  vpn_cidr = "10.100.0.0/16"

  buckets = {
    uploads = xeroops_bucket.all["uploads"].id
    pgdump  = xeroops_bucket.all["pgdump"].id
    walg    = xeroops_bucket.all["walg"].id
    logs    = xeroops_bucket.all["logs"].id
  }

  nodes = {
    edge = {
      role          = "openresty-lb"
      instance_type = "t3.small"
      image_id      = data.xeroops_image.all["openresty-lb"].id
      subnet_id     = xeroops_subnet.public.id
      address       = "10.0.1.10"
      eip_id        = xeroops_eip.edge.id
    }
    gateway = {
      role          = "wireguard"
      instance_type = "t3.small"
      image_id      = data.xeroops_image.all["wireguard"].id
      subnet_id     = xeroops_subnet.public.id
      address       = "10.0.1.11"
      eip_id        = xeroops_eip.gateway.id
    }
    app1 = {
      role          = "app"
      instance_type = "t3.small"
      image_id      = data.xeroops_image.all["app"].id
      subnet_id     = xeroops_subnet.private.id
      address       = "10.0.2.10"
    }
    management = {
      role          = "management"
      instance_type = "t3.small"
      image_id      = data.xeroops_image.all["management"].id
      subnet_id     = xeroops_subnet.private.id
      address       = "10.0.2.20"
    }
    db1 = {
      role          = "db"
      instance_type = "t3.medium"
      image_id      = data.xeroops_image.all["db"].id
      subnet_id     = xeroops_subnet.private.id
      address       = "10.0.2.30"
      volume_id     = xeroops_volume.db1.id
    }
  }

  settings = { LOG_LEVEL = "info" }

  # The VPN for the offices only; the edge is open to all.
  ingress = { wireguard = { cidrs = ["203.0.113.0/24", "2001:db8:1::/48"] } }

  # SSH without the VPN, for IAM principals that may open tunnels.
  debug_access = "instance-connect-endpoint"
  key_name     = "operators"

  # Written to S3, readable only by nodes of the role. Increase the version to write
  # a changed secret.
  credentials_wo         = { db = { POSTGRES_SUPERUSER_PASSWORD = var.database_password } }
  credentials_wo_version = 1
}
