variable "name" {
  description = "Name of the cluster, and prefix of its resources' names."
  type        = string
}

variable "availability_zone" {
  description = "Zone of the subnets and the data volumes, such as eu-west-1a."
  type        = string
}

variable "image_ids" {
  description = "Image by role: openresty-lb, wireguard, app, management and db. Another image replaces the nodes of that role one at a time."
  type        = map(string)
}

variable "vpc_cidr" {
  description = "IPv4 range of the VPC, a /16 to a /22; the subnets and addresses follow from it."
  type        = string
  default     = "10.0.0.0/16"
}

variable "vpn_cidr" {
  description = "IPv4 range of the VPN's clients. It must not overlap the VPC, nor the networks that the clients are in."
  type        = string
  default     = "10.100.0.0/16"
}

variable "app_count" {
  description = "Number of app nodes."
  type        = number
  default     = 2
}

variable "db_count" {
  description = "Number of database nodes: the primary and its replicas."
  type        = number
  default     = 2
}

variable "instance_types" {
  description = "Instance types by role; the default is t3.small."
  type        = map(string)
  default     = {}
}

variable "db_volume_gib" {
  description = "Size of each database node's data volume in GiB. It can grow but not shrink."
  type        = number
  default     = 20
}

variable "bucket_prefix" {
  description = "Prefix of the buckets' names, which end in the account id. It distinguishes the buckets of several clusters in one account."
  type        = string
  default     = ""
}

variable "keep_data" {
  description = "Whether destroy takes a final snapshot of each data volume, and refuses to delete a bucket that is not empty."
  type        = bool
  default     = true
}

variable "settings" {
  description = "Settings of the applications, in the environment of every node. No secrets: use credentials."
  type        = map(string)
  default     = {}
}

variable "credentials" {
  description = "Secrets by role, each a map of variables. They are written to S3 and not stored in the state. Missing secrets of the cluster itself are generated."
  type        = map(map(string))
  default     = {}
  ephemeral   = true
}

variable "credentials_version" {
  description = "Increase it to write changed credentials."
  type        = number
  default     = 1
}

variable "ready_timeout" {
  description = "How long apply waits for the nodes' boot reports."
  type        = string
  default     = "10m"
}

variable "on_ready_timeout" {
  description = "What happens when a node is not ready in time: error, warn, or skip (do not wait at all)."
  type        = string
  default     = "error"
}

variable "tags" {
  description = "Tags of everything in the cluster."
  type        = map(string)
  default     = {}
}
