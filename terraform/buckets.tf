module "global_bucket" {
  source  = "terraform-aws-modules/s3-bucket/aws"
  version = "5.15.4"

  bucket        = local.global_bucket
  force_destroy = local.disposable

  versioning                           = { enabled = true }
  server_side_encryption_configuration = local.bucket_encryption["global"]
  lifecycle_rule                       = local.bucket_lifecycle

  attach_deny_insecure_transport_policy = local.on_aws
}

# In the AWS region of the fleet's region, where its seeders and hosts are.
module "regional_bucket" {
  source  = "terraform-aws-modules/s3-bucket/aws"
  version = "5.15.4"

  for_each = local.regional_buckets

  region        = local.aws_regions[each.key]
  bucket        = each.value
  force_destroy = local.disposable

  versioning                           = { enabled = true }
  server_side_encryption_configuration = local.bucket_encryption[each.key]
  lifecycle_rule                       = local.bucket_lifecycle

  attach_deny_insecure_transport_policy = local.on_aws
}

locals {
  # Whether `terraform destroy` may remove what holds data.
  disposable = !startswith(var.stage, "prod")

  # A bucket key: without it each request to KMS is paid for, and KMS throttles them.
  bucket_encryption = {
    for name in concat(["global"], keys(var.regions)) : name => {
      rule = {
        apply_server_side_encryption_by_default = {
          sse_algorithm     = contains(keys(var.kms_key_arns), name) ? "aws:kms" : "AES256"
          kms_master_key_id = lookup(var.kms_key_arns, name, null)
        }
        bucket_key_enabled = contains(keys(var.kms_key_arns), name)
      }
    }
  }

  # For whoever reads or writes builds, where there are such keys.
  kms_statements = length(var.kms_key_arns) == 0 ? [] : [
    {
      Sid      = "UseTheKeysOfBuilds"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = values(var.kms_key_arns)
    },
  ]

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
