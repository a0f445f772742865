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

variable "architecture" {
  description = "Architecture of the images, x86_64 or arm64. The nodes' instance types and xeroops-node have to have the same."
  type        = string
  default     = "x86_64"
}

variable "instance_type" {
  description = "Type of the build instances; if null, t3.small, or t4g.small for arm64."
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
  description = "Further regions to copy the images to. The manifest has the ids in the region of the build."
  type        = list(string)
  default     = []
}

variable "region_kms_key_ids" {
  description = "KMS keys of the copies by region; required for each of copy_to_regions if kms_key_id is set."
  type        = map(string)
  default     = {}
}

variable "share_with_accounts" {
  description = "Ids of other accounts that may launch the images. Requires KMS keys that these accounts may use."
  type        = list(string)
  default     = []
}

variable "ssm_parameter_prefix" {
  description = "Path of SSM parameters for the image ids, such as /xeroops/images; if null, none."
  type        = string
  default     = null
}

variable "poll_interval" {
  description = "Interval between two checks of an instance or image."
  type        = string
  default     = "5s"
}
