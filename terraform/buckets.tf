module "global_bucket" {
  source  = "terraform-aws-modules/s3-bucket/aws"
  version = "5.15.4"

  bucket        = local.global_bucket
  force_destroy = local.disposable

  versioning                           = { enabled = true }
  server_side_encryption_configuration = local.bucket_encryption
  lifecycle_rule                       = local.bucket_lifecycle

  attach_deny_insecure_transport_policy = local.on_aws
}

module "regional_bucket" {
  source  = "terraform-aws-modules/s3-bucket/aws"
  version = "5.15.4"

  for_each = local.regional_buckets

  bucket        = each.value
  force_destroy = local.disposable

  versioning                           = { enabled = true }
  server_side_encryption_configuration = local.bucket_encryption
  lifecycle_rule                       = local.bucket_lifecycle

  attach_deny_insecure_transport_policy = local.on_aws
}

locals {
  # Whether `terraform destroy` may remove what holds data.
  disposable = !startswith(var.stage, "prod")

  bucket_encryption = {
    rule = {
      apply_server_side_encryption_by_default = { sse_algorithm = "AES256" }
    }
  }

  bucket_lifecycle = [
    {
      id      = "abandoned-uploads-and-old-versions"
      enabled = true

      # A workflow that ends in the midst of a multipart copy leaves parts that cost and that nobody sees.
      abort_incomplete_multipart_upload_days = 2
      noncurrent_version_expiration          = { days = 30 }
    }
  ]
}
