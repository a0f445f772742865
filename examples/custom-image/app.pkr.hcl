# An image of role app with software of your own:
#
#   packer init .
#   packer build -var 'ssh_from=["203.0.113.7/32"]' -var ca_certificate=company-ca.crt .
#
# Your provisioners run before xeroops-role, which has to be the last: it verifies the
# whole image, records all packages, and removes keys, logs and host names.

packer {
  required_plugins {
    xeroops = {
      source  = "github.com/xeroops/xeroops"
      version = ">= 0.1.0"
    }
  }
}

variable "ssh_from" {
  description = "Networks that Packer connects from, such as [\"203.0.113.7/32\"]."
  type        = list(string)
}

variable "ca_certificate" {
  description = "Path of the certificate of your own certificate authority, in PEM."
  type        = string
}

variable "node_binary" {
  description = "Path of xeroops-node, of the same release as the plugin."
  type        = string
  default     = "xeroops-node"
}

source "xeroops-ebs" "app" {
  ami_name                              = "company-app-${formatdate("YYYYMMDD-hhmmss", timestamp())}"
  temporary_security_group_source_cidrs = var.ssh_from
  tags                                  = { team = "platform" }
}

build {
  sources = ["source.xeroops-ebs.app"]

  provisioner "file" {
    source      = var.ca_certificate
    destination = "/tmp/company-ca.crt"
  }

  provisioner "shell" {
    execute_command = "sudo -n env {{ .Vars }} sh -eu {{ .Path }}"
    env             = { DEBIAN_FRONTEND = "noninteractive" }
    inline = [
      "install -m 0644 /tmp/company-ca.crt /usr/local/share/ca-certificates/company-ca.crt",
      "rm /tmp/company-ca.crt",
      "apt-get update",
      "apt-get install -y --no-install-recommends ca-certificates libpq5",
      "update-ca-certificates",
    ]
  }

  provisioner "xeroops-role" {
    role        = "app"
    node_binary = var.node_binary
  }

  post-processor "xeroops-manifest" {}
}
