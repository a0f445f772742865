# Interface endpoints for AWS Systems Manager, so that Session Manager reaches nodes in
# the private subnets, which have no route to the internet. The configuration needs
# hashicorp/aws.
#
# Price in eu-west-1 (2026): 0.011 USD per hour for each endpoint and zone, and 0.01 USD
# per GB. Two endpoints in two zones cost about 32 USD a month. The EC2 Instance Connect
# Endpoint of xeroops_cluster (debug_access) costs nothing and needs no agent.
#
# Besides the endpoints, Session Manager needs its agent in the images, which Debian's
# archive does not have, and a policy on the roles:
#
#   data "aws_iam_policy" "ssm" { name = "AmazonSSMManagedInstanceCore" }
#   additional_policy_arns = { app = [data.aws_iam_policy.ssm.arn] }

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
