variable "region" {
  description = "Region to build in; if null, the region of the environment or profile."
  type        = string
  default     = null
}

variable "ssh_from" {
  description = "Networks that Packer connects from, such as [\"203.0.113.7/32\"]; https://checkip.amazonaws.com returns your address."
  type        = list(string)
}

variable "roles" {
  description = "Roles to build images of."
  type        = list(string)
  default     = ["openresty-lb", "wireguard", "app", "management", "db"]
}

variable "node_binary" {
  description = "Path of xeroops-node, of the same release as the plugin."
  type        = string
  default     = "xeroops-node"
}

variable "manifest" {
  description = "File for the image ids. Terraform reads it automatically in its working directory."
  type        = string
  default     = "images.auto.tfvars.json"
}

variable "source_ami" {
  description = "Image to start from; if null, the newest Debian 13 image of Debian's account. Required in AWS GovCloud and the China regions, where Debian publishes none."
  type        = string
  default     = null
}

variable "instance_type" {
  description = "Type of the build instances; if null, t3.small."
  type        = string
  default     = null
}

variable "subnet_id" {
  description = "Subnet of the build instances, with a route to apt's mirror; if null, a subnet of the default VPC."
  type        = string
  default     = null
}

variable "associate_public_ip_address" {
  description = "Whether build instances get a public address; if null, the subnet's setting."
  type        = bool
  default     = null
}

variable "apt_sources" {
  description = "Lines of sources.list(5) that replace the image's during the build, such as your own mirror."
  type        = list(string)
  default     = []
}

variable "backup_engine" {
  description = "Backup engine to install on the database image: wal-g, downloaded from its releases, or pgbackrest, from Debian. No backups are made yet."
  type        = string
  default     = "wal-g"
}

variable "environment" {
  description = "Variables for apt and the roles' scripts: a proxy, download URLs with their checksums."
  type        = map(string)
  default     = {}
}

variable "name_prefix" {
  description = "Prefix of the images' names; role and time follow."
  type        = string
  default     = "xeroops"
}

variable "tags" {
  description = "Tags of the images, in addition to those that describe their content."
  type        = map(string)
  default     = {}
}

variable "kms_key_id" {
  description = "KMS key to encrypt the images with; if null, the account's default key."
  type        = string
  default     = null
}

variable "copy_to_regions" {
  description = "Further regions to copy the images to. Requires region, whose ids are written to the manifest."
  type        = list(string)
  default     = []
}

variable "poll_interval" {
  description = "Interval between two checks of an instance or image."
  type        = string
  default     = "5s"
}
