variable "name" {
  description = "Name of the cluster, and prefix of its resources' names."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,26}[a-z0-9])?$", var.name))
    error_message = "Use up to 28 lowercase letters, digits and hyphens, and no hyphen at the start or end."
  }
}

variable "availability_zones" {
  description = "Zones of the cluster, such as [\"eu-west-1b\", \"eu-west-1c\"]. Default: the first two zones of the region at the first apply. Append zones, and never reorder them: nodes and volumes would be replaced."
  type        = list(string)
  default     = null

  validation {
    condition     = var.availability_zones == null ? true : length(var.availability_zones) >= 1 && length(var.availability_zones) <= 6 && length(distinct(var.availability_zones)) == length(var.availability_zones)
    error_message = "List one to six different zones."
  }
}

variable "image_ids" {
  description = "Image by role: openresty-lb, wireguard, app, management and db. Another image replaces the nodes of that role one at a time."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["openresty-lb", "wireguard", "app", "management", "db"], keys(var.image_ids))) == 0
    error_message = "Each of the roles openresty-lb, wireguard, app, management and db needs an image."
  }
}

variable "vpc_cidr" {
  description = "IPv4 range of the VPC, a /16 to a /22; the subnets and addresses follow from it. Two or three zones need a /21 or larger."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(contains(range(16, 23), tonumber(split("/", var.vpc_cidr)[1])), false)
    error_message = "Use an IPv4 range from a /16 to a /22, such as 10.0.0.0/16."
  }
}

variable "vpn_cidr" {
  description = "IPv4 range of the VPN's clients. It must not overlap the VPC, nor the networks that the clients are in."
  type        = string
  default     = "10.100.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpn_cidr))
    error_message = "Use an IPv4 range, such as 10.100.0.0/16."
  }
}

variable "ipv6" {
  description = "Whether the edge has an IPv6 address as well, which does not change. Private subnets have none. To turn it off again, first remove ipv6_address from the node and ipv6_cidr from the subnets."
  type        = bool
  default     = false
}

variable "dns_firewall" {
  description = "If set, the VPC's resolver answers for S3 and these allowed_domains only, so that private nodes cannot send data out in DNS queries. The edge needs the domains of its certificate authority and of Debian's archive."
  type        = object({ allowed_domains = optional(set(string)) })
  default     = null
}

variable "flow_logs" {
  description = "If set, the VPC has a flow log to the logs bucket, below flow-logs/. With a KMS key for buckets, the key's policy must let delivery.logs.amazonaws.com encrypt."
  type = object({
    traffic_type        = optional(string, "ALL")
    aggregation_seconds = optional(number, 600)
  })
  default = null
}

variable "app_count" {
  description = "Number of app nodes."
  type        = number
  default     = 2

  validation {
    condition     = var.app_count >= 1 && var.app_count <= 110 && floor(var.app_count) == var.app_count
    error_message = "Use 1 to 110 app nodes."
  }
}

variable "db_count" {
  description = "Number of database nodes: the primary and its replicas."
  type        = number
  default     = 2

  validation {
    condition     = var.db_count >= 1 && var.db_count <= 10 && floor(var.db_count) == var.db_count
    error_message = "Use 1 to 10 database nodes."
  }
}

variable "instance_types" {
  description = "Instance types by role; the default is t3.small."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.instance_types), ["openresty-lb", "wireguard", "app", "management", "db"])) == 0
    error_message = "Roles are openresty-lb, wireguard, app, management and db."
  }
}

variable "node_options" {
  description = "Options of the nodes by role, as xeroops_cluster has them: tags of their own, monitoring, cpu_credits, spot (app only), tenancy, placement_group, and the root volume's IOPS and MiB/s."
  type = map(object({
    tags                   = optional(map(string))
    monitoring             = optional(bool)
    cpu_credits            = optional(string)
    spot                   = optional(bool)
    tenancy                = optional(string)
    placement_group        = optional(string)
    root_volume_iops       = optional(number)
    root_volume_throughput = optional(number)
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.node_options), ["openresty-lb", "wireguard", "app", "management", "db"])) == 0
    error_message = "Roles are openresty-lb, wireguard, app, management and db."
  }
}

variable "instance_profiles" {
  description = "Your own instance profiles, by role. For these roles, no IAM role is created."
  type        = map(string)
  default     = null
}

variable "iam_path" {
  description = "Path that IAM roles and instance profiles are created under, such as /platform/. It cannot be changed."
  type        = string
  default     = null
}

variable "permissions_boundary" {
  description = "ARN of the policy that is the permissions boundary of all IAM roles: no role has more permissions than it allows."
  type        = string
  default     = null
}

variable "additional_policy_arns" {
  description = "ARNs of managed policies to attach to the IAM roles, by role."
  type        = map(set(string))
  default     = null
}

variable "exclusive_policies" {
  description = "Whether to remove policies that were added to the IAM roles outside of Terraform."
  type        = bool
  default     = false
}

variable "ingress" {
  description = "Sources that may connect to the edge (openresty-lb: TCP 80 and 443) and the VPN gateway (wireguard: UDP 51820). A role that is missing is open to all addresses."
  type = map(object({
    cidrs           = optional(set(string))
    prefix_list_ids = optional(set(string))
  }))
  default = null

  validation {
    condition     = var.ingress == null ? true : length(setsubtract(keys(var.ingress), ["openresty-lb", "wireguard"])) == 0
    error_message = "Only openresty-lb and wireguard are open to the internet."
  }
}

variable "additional_security_group_ids" {
  description = "Ids of further security groups of the nodes, by role: at most four."
  type        = map(set(string))
  default     = null
}

variable "debug_access" {
  description = "A way to the nodes' sshd without the VPN: none, or instance-connect-endpoint. The latter needs a key_name."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "instance-connect-endpoint"], var.debug_access)
    error_message = "Use none or instance-connect-endpoint."
  }
}

variable "key_name" {
  description = "Key pair for SSH. A change applies to nodes launched later."
  type        = string
  default     = null
}

variable "root_volume_gib" {
  description = "Size of each node's root volume in GiB. A change applies to nodes launched later."
  type        = number
  default     = 16

  validation {
    condition     = var.root_volume_gib >= 8 && var.root_volume_gib <= 16384
    error_message = "Use 8 to 16384 GiB."
  }
}

variable "db_volume_gib" {
  description = "Size of each database node's data volume in GiB. It can grow but not shrink."
  type        = number
  default     = 20

  validation {
    condition     = var.db_volume_gib >= 1 && var.db_volume_gib <= 65536
    error_message = "Use 1 to 65536 GiB."
  }
}

variable "kms_key_ids" {
  description = "ARNs of KMS keys of your own, by what they encrypt: root_volumes of all nodes, data_volumes of the databases, and buckets. What has no key here is encrypted as well: volumes with the account's default key for EBS, buckets with S3's own keys. Choose the key of data_volumes before the first apply, because an attached volume keeps its key. Another key of root_volumes applies to nodes that are launched later."
  type = object({
    root_volumes = optional(string)
    data_volumes = optional(string)
    buckets      = optional(string)
  })
  default = {}
}

variable "bucket_prefix" {
  description = "Prefix of the buckets' names, which end in the account id. It distinguishes the buckets of several clusters in one account."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9-]{0,40}$", var.bucket_prefix))
    error_message = "Use up to 40 lowercase letters, digits and hyphens."
  }
}

variable "keep_data" {
  description = "Whether destroy takes a final snapshot of each data volume, and refuses to delete a bucket that is not empty."
  type        = bool
  default     = true
}

variable "termination_protection" {
  description = "Whether EC2 refuses to terminate the instances. Also prevents terraform destroy."
  type        = bool
  default     = false
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

variable "internal_credentials_version" {
  description = "Increase it to generate new internal secrets, except the key of backups."
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

  validation {
    condition     = contains(["error", "warn", "skip"], var.on_ready_timeout)
    error_message = "Use error, warn or skip."
  }
}

variable "tags" {
  description = "Tags of everything in the cluster."
  type        = map(string)
  default     = {}
}
