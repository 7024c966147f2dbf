variable "name" {
  description = "What the role of the hosts is called, such as fleetcast-host."
  type        = string
  default     = "fleetcast-host"

  validation {
    condition     = can(regex("^[a-zA-Z0-9][a-zA-Z0-9-]{0,31}$", var.name))
    error_message = "Expected 1 to 32 characters a-z A-Z 0-9 -, since it becomes a role's name."
  }
}

variable "log" {
  description = "Whether what becomes of each build is told to the deployment log: by the region's seeder, to which hosts hand their rows."
  type        = bool
  default     = true
}

variable "policy_arn" {
  description = "The output `host_policy_arn`, where hosts write to the deployment log themselves. Null: their seeder does."
  type        = string
  default     = null
}

variable "parameter_name" {
  description = "The output `parameter_name` of the region's module seeder."
  type        = string
}

variable "parameter_arn" {
  description = "The output `parameter_arn`, likewise."
  type        = string
}

variable "package_url" {
  description = "The .deb of the host agent in S3, such as s3://packages/fleetcast-host.deb."
  type        = string

  validation {
    condition     = can(regex("^s3://[a-z0-9.-]{3,63}/[A-Za-z0-9._/-]+[.]deb$", var.package_url))
    error_message = "Expected s3://BUCKET/KEY.deb of letters, digits and . _ / -."
  }
}

variable "region" {
  description = "The fleet's region that these hosts are in, as the deployment log calls it, such as region-a."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,39}$", var.region))
    error_message = "Expected 1 to 40 characters a-z 0-9 -, as in the variable `regions`."
  }
}

variable "stage" {
  description = "The stage whose deployment log is written to, with policy_arn."
  type        = string
  default     = "prod"
}

variable "log_region" {
  description = "The AWS region of the deployment log, with policy_arn."
  type        = string
  default     = "us-east-1"
}
