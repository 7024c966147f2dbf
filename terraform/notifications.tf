# A build arrives in the global bucket, by a plain, a multipart or a copying upload alike.
module "global_bucket_notification" {
  source  = "terraform-aws-modules/s3-bucket/aws//modules/notification"
  version = "5.15.4"

  bucket     = module.global_bucket.s3_bucket_id
  bucket_arn = module.global_bucket.s3_bucket_arn

  lambda_notifications = {
    "replication-worker" = {
      function_arn  = module.function["replication-worker"].lambda_function_arn
      function_name = module.function["replication-worker"].lambda_function_name
      events        = ["s3:ObjectCreated:*"]
    }
  }
}

# A copy arrives in a regional bucket.
module "regional_bucket_notification" {
  source  = "terraform-aws-modules/s3-bucket/aws//modules/notification"
  version = "5.15.4"

  for_each = module.regional_bucket

  bucket     = each.value.s3_bucket_id
  bucket_arn = each.value.s3_bucket_arn

  lambda_notifications = {
    "regional-sync" = {
      function_arn  = module.function["regional-sync"].lambda_function_arn
      function_name = module.function["regional-sync"].lambda_function_name
      events        = ["s3:ObjectCreated:*"]
    }
  }
}
