variable "name" {
  description = "What the pipeline is called, and what the names of its parts begin with."
  type        = string
  default     = "fleetcast-deploy"

  validation {
    # CodePipeline names folders of artifacts by the first twenty characters of its name: the roles are held to that folder.
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "Expected 1 to 20 characters a-z 0-9 - that begin with a letter."
  }
}

variable "aws_region" {
  description = "The AWS region of the pipeline: that of the stages' functions, since an action calls functions of its own region."
  type        = string
  default     = "us-east-1"
}

variable "stages" {
  description = "The stages in the order in which a build goes through them, as each was applied in terraform/. Somebody approves before each but the first."
  type        = list(string)
  default     = ["dev", "staging", "prod"]

  validation {
    condition     = length(var.stages) > 0 && length(distinct(var.stages)) == length(var.stages) && alltrue([for stage in var.stages : can(regex("^(dev|staging|prod)(-[a-z0-9]+)*$", stage))])
    error_message = "Expected one or more of dev, staging and prod, with a suffix such as prod-acme where that was applied, and none twice."
  }
}

variable "regions" {
  description = "Regions of the fleet that each stage deploys to, as `regions` of terraform/ names them."
  type        = list(string)
  default     = ["region-a", "region-b"]

  validation {
    condition     = length(var.regions) > 0 && length(var.regions) <= 100 && alltrue([for region in var.regions : can(regex("^[a-z0-9][a-z0-9-]{0,39}$", region))])
    error_message = "Expected 1 to 100 names of 1 to 40 characters a-z 0-9 -."
  }
}

variable "source_bucket" {
  description = "The bucket, with versions, that the source comes from as a zip. Null: it comes from connection_arn."
  type        = string
  default     = null
}

variable "source_key" {
  description = "The key of the source in source_bucket."
  type        = string
  default     = "source.zip"
}

variable "connection_arn" {
  description = "The CodeStar connection to a repository that the source comes from, such as arn:aws:codestar-connections:us-east-1:123456789012:connection/…. Null: it comes from source_bucket."
  type        = string
  default     = null

  validation {
    condition     = var.connection_arn == null || can(regex("^arn:aws[a-z-]*:code(star-)?connections:", var.connection_arn))
    error_message = "Expected the ARN of a connection, or null."
  }
}

variable "repository" {
  description = "The repository behind connection_arn, such as acme/shop."
  type        = string
  default     = null
}

variable "branch" {
  description = "The branch that is built."
  type        = string
  default     = "main"
}

variable "build_command" {
  description = "What makes the build of the source, by bash in its folder, as the file that BUILD_FILE names. It sees neither the key that signs nor the buckets of the stages."
  type        = string
  default     = "zip -q -r \"$BUILD_FILE\" ."
}

variable "build_file" {
  description = "The file that build_command makes. Its ending becomes that of the build's key, by which the stages know a build (build_suffixes)."
  type        = string
  default     = "build.zip"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+([.][A-Za-z0-9]+)+$", var.build_file))
    error_message = "Expected a name with an ending, such as build.zip or app.tar.gz."
  }
}

variable "build_prefix" {
  description = "How the keys of builds begin; the revision of the source follows."
  type        = string
  default     = "build-"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.build_prefix))
    error_message = "Expected characters A-Z a-z 0-9 . _ / - without an empty part."
  }
}

variable "build_image" {
  description = "The image that builds are made in."
  type        = string
  default     = "aws/codebuild/amazonlinux-x86_64-standard:5.0"
}

variable "build_compute" {
  description = "How large the machine that makes builds is."
  type        = string
  default     = "BUILD_GENERAL1_MEDIUM"
}

variable "harness_url" {
  description = "The program `harness` for x86-64 Linux in S3, which signs: such as s3://packages/harness."
  type        = string

  validation {
    condition     = can(regex("^s3://[a-z0-9.-]{3,63}/[A-Za-z0-9._/-]+$", var.harness_url))
    error_message = "Expected s3://BUCKET/KEY of letters, digits and . _ / -."
  }
}

variable "signing_key_secret_arn" {
  description = "The secret of Secrets Manager whose text is the file that `harness keygen` has made. Its public half is what seeders and hosts --trust."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:secretsmanager:", var.signing_key_secret_arn))
    error_message = "Expected the ARN of a secret."
  }
}

variable "signing_key_kms_key_arn" {
  description = "The customer's KMS key that the secret is encrypted with. Null: AWS's own."
  type        = string
  default     = null
}

variable "stage_kms_key_arns" {
  description = "Stage to the customer's KMS key of its bucket global-builds, where it has one (kms_key_arns[\"global\"] of terraform/)."
  type        = map(string)
  default     = {}
}

variable "approval_emails" {
  description = "Who is told that a build waits for approval. Each address gets a mail to confirm."
  type        = list(string)
  default     = []
}

variable "log_retention_days" {
  description = "How long the logs of builds are kept."
  type        = number
  default     = 30
}

variable "artifact_days" {
  description = "How long artifacts are kept: builds that wait for an approval for longer cannot be deployed any more. An approval waits for seven days."
  type        = number
  default     = 30

  validation {
    condition     = var.artifact_days >= 22
    error_message = "Expected 22 or more: two approvals may take seven days each."
  }
}
