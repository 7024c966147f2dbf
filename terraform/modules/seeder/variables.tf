variable "name" {
  description = "What everything of this seeder is called, such as fleetcast-region-a."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9][a-zA-Z0-9-]{0,31}$", var.name))
    error_message = "Expected 1 to 32 characters a-z A-Z 0-9 -, since it becomes part of a role's name."
  }
}

variable "queue_name" {
  description = "The queue that tells this seeder of the region's builds, such as region-a-builds-events-prod: one of the output `seeder_queue_names`, and no other seeder's."
  type        = string
}

variable "policy_arn" {
  description = "What the seeder may do: one of the output `seeder_policy_arns`."
  type        = string
}

variable "package_url" {
  description = "The .deb of the seeder in S3, such as s3://packages/fleetcast-seeder.deb."
  type        = string

  validation {
    condition     = can(regex("^s3://[a-z0-9.-]{3,63}/[A-Za-z0-9._/-]+[.]deb$", var.package_url))
    error_message = "Expected s3://BUCKET/KEY.deb of letters, digits and . _ / -."
  }
}

variable "ami_id" {
  description = "An image of Debian 12 or newer, or Ubuntu 22.04 or newer, with the AWS CLI."
  type        = string
}

variable "instance_type" {
  description = "The machine. Its network is what the region's first copies come by."
  type        = string
  default     = "c7gn.xlarge"
}

variable "vpc_id" {
  description = "The network of the region's hosts."
  type        = string
}

variable "subnet_id" {
  description = "Where the seeder is. The volume with its key and spool is in the same availability zone, so it has no other."
  type        = string
}

variable "host_security_group_ids" {
  description = "Who may come: the security groups of the region's hosts."
  type        = list(string)

  validation {
    condition     = length(var.host_security_group_ids) > 0
    error_message = "Expected the security group of the region's hosts: nobody else reaches the seeder."
  }
}

variable "volume_size" {
  description = "GiB of the volume for key and spool: room for the builds that are seeded at a time, and some that were."
  type        = number
  default     = 200
}

variable "zone_id" {
  description = "A private hosted zone of Route 53 in which the seeder keeps its name, so that hosts find it when its machine was replaced."
  type        = string
}

variable "host_name" {
  description = "That name, such as seeder.region-a.example.internal."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]+([.][a-z0-9-]+)+$", var.host_name))
    error_message = "Expected a name in the zone, such as seeder.region-a.example.internal."
  }
}

variable "parameter_name" {
  description = "The parameter of SSM that has the directory's address, from which hosts take it."
  type        = string
  default     = "/fleetcast/directory"

  validation {
    condition     = can(regex("^(/[A-Za-z0-9._-]+)+$", var.parameter_name))
    error_message = "Expected a path such as /fleetcast/directory."
  }
}

variable "log" {
  description = "Whether it writes the rows that hosts hand over to the deployment log, each in the name that the host has proven."
  type        = bool
  default     = true
}

variable "stage" {
  description = "The stage whose deployment log is written to, as in the name of the queue."
  type        = string
  default     = "prod"
}

variable "log_region" {
  description = "The AWS region of the deployment log."
  type        = string
  default     = "us-east-1"
}
