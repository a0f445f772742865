# The machine images of a cluster, one per role, built in parallel:
#
#   packer init .
#   packer build -var 'ssh_from=["203.0.113.7/32"]' .
#
# with the address that you connect from. Put xeroops-node, of the same release as
# the plugin, beside this file, or set node_binary. Images for Graviton instances:
#
#   packer build -var 'ssh_from=["203.0.113.7/32"]' -var architecture=arm64 -var node_binary=xeroops-node-arm64 .

packer {
  required_plugins {
    xeroops = {
      source  = "github.com/xeroops/xeroops"
      version = ">= 0.1.0"
    }
  }
}

locals {
  built = formatdate("YYYYMMDD-hhmmss", timestamp())
}

source "xeroops-ebs" "debian" {
  region        = var.region
  source_ami    = var.source_ami
  architecture  = var.architecture
  instance_type = var.instance_type

  subnet_id                             = var.subnet_id
  associate_public_ip_address           = var.associate_public_ip_address
  temporary_security_group_source_cidrs = var.ssh_from

  kms_key_id         = var.kms_key_id
  ami_regions        = var.copy_to_regions
  region_kms_key_ids = var.region_kms_key_ids
  ami_users          = var.share_with_accounts
  tags               = var.tags

  poll_interval = var.poll_interval
}

build {
  dynamic "source" {
    for_each = var.roles
    labels   = ["xeroops-ebs.debian"]
    content {
      name     = source.value
      ami_name = "${var.name_prefix}-${source.value}-${local.built}"
    }
  }

  provisioner "xeroops-role" {
    role        = source.name
    node_binary = var.node_binary
    apt_sources = var.apt_sources
    environment = merge({ XEROOPS_BACKUP_ENGINE = var.backup_engine }, var.environment)
  }

  # Terraform reads the file automatically if it is in the configuration's directory.
  post-processor "xeroops-manifest" {
    region               = var.region
    output               = var.manifest
    ssm_parameter_prefix = var.ssm_parameter_prefix
  }
}
