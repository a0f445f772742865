variable "region" {
  description = "Region of the cluster; if null, the region of the environment or profile, as for packer build."
  type        = string
  default     = null
}

variable "availability_zones" {
  description = "Zones of the cluster. Default: two zones of the region."
  type        = list(string)
  default     = null
}

variable "name" {
  description = "Name of the cluster."
  type        = string
  default     = "production"
}

variable "owner" {
  description = "Name of this state, different from that of every other state and workspace. With it, an apply also repairs what is in use and not in the state, because an earlier run or the state was lost."
  type        = string
  default     = null
}

variable "image_ids" {
  description = "Images by role, as packer build writes them to images.auto.tfvars.json. The default for other roles is the newest image."
  type        = map(string)
  default     = {}
}

variable "app_count" {
  description = "Number of app nodes."
  type        = number
  default     = 2
}

variable "vpn_peers" {
  description = "Clients of the VPN: WireGuard public keys by name."
  type        = map(string)
  default     = {}
}

variable "keep_data" {
  description = "Whether destroy takes final snapshots and refuses to delete buckets that are not empty. Apply once with false before you destroy a cluster for good."
  type        = bool
  default     = true
}

variable "on_ready_timeout" {
  description = "What happens when a node is not ready in time: error, warn, or skip (do not wait at all)."
  type        = string
  default     = "error"
}

variable "permissions_boundary" {
  description = "ARN of the policy that is the permissions boundary of all IAM roles. An operator with the policies of docs/policies has to set it."
  type        = string
  default     = null
}
