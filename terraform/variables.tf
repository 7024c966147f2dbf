variable "stage" {
  description = "Which installation this is: dev, staging or prod, with a suffix of your own where a bucket's name is taken (prod-acme). It is appended to every name. Empty on a local stack only: the names without a stage."
  type        = string

  validation {
    condition     = can(regex("^(|(dev|staging|prod)(-[a-z0-9]+)*)$", var.stage))
    error_message = "Expected dev, staging or prod, optionally with a suffix such as prod-acme, or an empty string for a local stack."
  }
}

variable "regions" {
  description = "Regions of the fleet, each with the AWS region that it is in, such as { region-a = \"eu-west-1\", region-b = \"us-west-2\" }. Each has a bucket, a queue and a seeder of its own there. Null: in aws_region."
  type        = map(string)
  default     = { region-a = null, region-b = null }

  validation {
    condition     = length(var.regions) > 0 && alltrue([for region, aws_region in var.regions : can(regex("^[a-z0-9][a-z0-9-]{0,39}$", region))])
    error_message = "Expected one or more names of 1 to 40 characters a-z 0-9 -, since they become parts of bucket names."
  }

  validation {
    condition     = !contains(keys(var.regions), "global")
    error_message = "A region may not be called global: its bucket would be the one that builds are uploaded to, and an upload would start nothing, or itself again and again."
  }

  validation {
    condition     = length(var.regions) <= 100
    error_message = "Expected at most 100 regions: one execution copies to so many."
  }
}

variable "seeders_per_region" {
  description = "Seeders of each region. Each has a queue of its own (output seeder_queue_names), and all hear of every build: two on one queue would share the builds out between them."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 3, 4, 5, 6, 7, 8], var.seeders_per_region)
    error_message = "Expected 1 to 8: a dead-letter queue takes messages from ten queues at most, and a host is linked with eight seeders."
  }
}

variable "build_suffixes" {
  description = "How the keys of builds end. What ends in another way, such as .sha256 or .sbom.json, is copied to the regions beside its build, and no seeder is told. [\"*\"]: every object is a build."
  type        = list(string)
  default     = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".jar", ".war", ".ear", ".whl", ".deb", ".rpm", ".apk", ".img", ".iso", ".bin"]
}

variable "kms_key_arns" {
  description = "Customer-managed KMS keys that buckets encrypt with: region of the fleet to the ARN of a key of its AWS region, and \"global\" for the bucket that builds are uploaded to. Buckets without one use S3's own keys (AES256)."
  type        = map(string)
  default     = {}
}

variable "alarm_emails" {
  description = "Who is told when a build did not reach every region, or an alarm goes off. Each address gets a mail to confirm."
  type        = list(string)
  default     = []
}

variable "log_writes_per_second" {
  description = "What the table of deployment logs takes from its first second on: 16000 for fleets of 100,000 hosts that finish together. Null: 4,000, what AWS gives a new table. AWS charges once for more."
  type        = number
  default     = null
}

variable "hosts_write_rows" {
  description = "Whether hosts write their rows of the deployment log themselves (`peer --log-by host`). A host can write any host's rows then: IAM cannot hold it to its own. By default seeders write them (`seeder --log`)."
  type        = bool
  default     = false
}

variable "aws_region" {
  description = "The AWS region of everything but what `regions` puts elsewhere: uploads, the workflow, the tables and the API."
  type        = string
  default     = "us-east-1"
}

variable "endpoint_url" {
  description = "Where a local stack answers, as seen from here, such as http://127.0.0.1:4566. Null: AWS."
  type        = string
  default     = null
}

variable "function_endpoint_url" {
  description = "Where a local stack answers, as seen from the functions, if that differs from endpoint_url: LocalStack runs them in containers."
  type        = string
  default     = null
}

variable "lambda_package_folder" {
  description = "Where the functions' zips are, as <folder>/<function>/bootstrap.zip: what `cargo lambda build --output-format zip` makes; scripts/check-packages.py says whether they are of the right kind. Relative to this folder."
  type        = string
  default     = "../target/lambda"
}

variable "lambda_architecture" {
  description = "What the functions were built for: arm64 or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.lambda_architecture)
    error_message = "Expected arm64 or x86_64."
  }
}

variable "rust_log" {
  description = "What the functions log: a filter of tracing-subscriber."
  type        = string
  default     = "info"
}

variable "log_retention_days" {
  description = "How long the logs of functions and workflow are kept."
  type        = number
  default     = 30
}

variable "api_authorization" {
  description = "Who may call the HTTP API: AWS_IAM (signed requests), or NONE for anybody, as on a local stack."
  type        = string
  default     = "AWS_IAM"

  validation {
    condition     = contains(["AWS_IAM", "NONE"], var.api_authorization)
    error_message = "Expected AWS_IAM or NONE."
  }
}

variable "pipeline_artifact_bucket" {
  description = "A bucket that UserParameters of a pipeline of your own name as {\"bucket\": …, \"key\": …}, where pipeline-action reads the workflow's input. Null: it may read global-builds only. Artifacts of a job are read with the job's own credentials, and need none of this."
  type        = string
  default     = null
}

variable "pipeline_artifact_kms_key_arn" {
  description = "The customer's KMS key of what is in pipeline_artifact_bucket, such as arn:aws:kms:eu-west-1:123456789012:key/…, which pipeline-action decrypts it with; the key's own policy has to allow that too. Null: it is encrypted with a key of AWS's."
  type        = string
  default     = null

  validation {
    condition     = var.pipeline_artifact_kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:", var.pipeline_artifact_kms_key_arn))
    error_message = "Expected the ARN of a key, or null."
  }
}

variable "rows_overdue_minutes" {
  description = "An alarm tells of a build that reached its regions when no host has written a row for so long."
  type        = number
  default     = 30

  validation {
    condition     = var.rows_overdue_minutes >= 1 && var.rows_overdue_minutes <= 720 && floor(var.rows_overdue_minutes) == var.rows_overdue_minutes
    error_message = "rows_overdue_minutes is a whole number from 1 to 720: CloudWatch looks back a day, which is two of these."
  }
}
