variable "stage" {
  description = "Which installation this is: dev, staging or prod, with a suffix of your own where a bucket's name is taken (prod-acme). It is appended to every name. Empty on a local stack only: the names without a stage."
  type        = string

  validation {
    condition     = can(regex("^(|(dev|staging|prod)(-[a-z0-9]+)*)$", var.stage))
    error_message = "Expected dev, staging or prod, optionally with a suffix such as prod-acme, or an empty string for a local stack."
  }
}

variable "regions" {
  description = "Regions of the fleet. Each has a bucket, a queue and a seeder of its own."
  type        = list(string)
  default     = ["region-a", "region-b"]

  validation {
    condition     = length(var.regions) > 0 && length(distinct(var.regions)) == length(var.regions) && alltrue([for region in var.regions : can(regex("^[a-z0-9][a-z0-9-]{0,39}$", region))])
    error_message = "Expected one or more different names of 1 to 40 characters a-z 0-9 -, since they become parts of bucket names."
  }
}

variable "aws_region" {
  description = "The AWS region that everything is made in."
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
  description = "Where the functions' zips are, as <folder>/<function>/bootstrap.zip: what `cargo lambda build --output-format zip` and scripts/package-lambdas.sh make. Relative to this folder."
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
  description = "The bucket of CodePipeline's artifacts, where pipeline-action reads the workflow's input. Null: it may read global-builds only."
  type        = string
  default     = null
}
