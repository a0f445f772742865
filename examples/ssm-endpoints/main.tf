# Session Manager of AWS Systems Manager: a shell on a node, in the AWS console or with
# `aws ssm start-session`, without SSH and without the VPN. An agent on the node connects
# to Systems Manager. Nodes in private subnets have no route to the internet, so that the
# agent needs the two interface endpoints that this configuration creates with the
# provider hashicorp/aws.
#
# If you only need a way to sshd without the VPN, debug_access of xeroops_cluster is
# simpler: it costs nothing, and needs no agent.
#
# Session Manager needs three things:
#
#   1. The agent in the images. Debian's archive does not have it: examples/custom-image
#      shows how to install software of your own.
#   2. The endpoints, below. In eu-west-1 (2026), an endpoint costs 0.011 USD per hour and
#      zone, and 0.01 USD per GB: two endpoints in two zones are about 32 USD a month.
#   3. The permissions of the agent, on the IAM role of each role of nodes that you want to
#      reach, and in the permissions boundary if you have one:
#
#        data "aws_iam_policy" "ssm" { name = "AmazonSSMManagedInstanceCore" }
#        additional_policy_arns = { app = [data.aws_iam_policy.ssm.arn] } # of module.cluster

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  description = "Name of the cluster."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the cluster: module.cluster.vpc_id."
  type        = string
}

variable "subnet_ids" {
  description = "One private subnet per zone: module.cluster.subnet_ids.private and, in two zones, private-2."
  type        = set(string)
}

data "aws_region" "this" {}

data "aws_vpc" "this" {
  id = var.vpc_id
}

resource "aws_security_group" "this" {
  name        = "${var.name}-ssm-endpoints"
  description = "Systems Manager endpoints of ${var.name}"
  vpc_id      = var.vpc_id

  ingress {
    description = "HTTPS from the VPC"
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = [data.aws_vpc.this.cidr_block]
  }
}

# Agents before 3.3.40 also need ec2messages.
resource "aws_vpc_endpoint" "this" {
  for_each = toset(["ssm", "ssmmessages"])

  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${data.aws_region.this.name}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.this.id]
  private_dns_enabled = true
}
