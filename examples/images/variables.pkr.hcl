variable "region" {
  description = "Region to build in; that of the environment or profile if null."
  type        = string
  default     = null
}

variable "ssh_from" {
  description = "Networks that Packer connects from, such as [\"203.0.113.7/32\"]; https://checkip.amazonaws.com tells your address."
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
  description = "File for the ids of the images. Terraform reads it by itself in the folder that it runs in."
  type        = string
  default     = "images.auto.tfvars.json"
}

variable "source_ami" {
  description = "Image to start from; the newest Debian 13 of Debian's own account if null."
  type        = string
  default     = null
}

variable "instance_type" {
  description = "Type of the build instances; t3.small if null."
  type        = string
  default     = null
}

variable "subnet_id" {
  description = "Subnet of the build instances, with a route to apt's mirror; the default VPC's if null."
  type        = string
  default     = null
}

variable "associate_public_ip_address" {
  description = "Whether build instances get a public address; the subnet's own setting if null."
  type        = bool
  default     = null
}

variable "apt_sources" {
  description = "Lines of sources.list(5) to use during the build in place of the image's own: a mirror of yours."
  type        = list(string)
  default     = []
}

variable "backup_engine" {
  description = "What the database image backs up with: wal-g, which is downloaded from its releases, or pgbackrest, which Debian has."
  type        = string
  default     = "wal-g"
}

variable "environment" {
  description = "Variables for apt and the roles' scripts: a proxy, download URLs with their checksums."
  type        = map(string)
  default     = {}
}

variable "name_prefix" {
  description = "What the images' names begin with; role and time follow."
  type        = string
  default     = "xeroops"
}

variable "tags" {
  description = "Tags of the images, besides those that say what is in them."
  type        = map(string)
  default     = {}
}

variable "kms_key_id" {
  description = "Key to encrypt the images with; the account's default key if null."
  type        = string
  default     = null
}

variable "copy_to_regions" {
  description = "Further regions to copy the images to. Needs region, which the manifest is about."
  type        = list(string)
  default     = []
}

variable "poll_interval" {
  description = "Time between two looks at an instance or image."
  type        = string
  default     = "5s"
}
