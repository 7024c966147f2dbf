# A build arrives in the global bucket, by a plain, a multipart or a copying upload alike. A bucket has one such configuration: what
# others want to hear of it is declared here, or they listen to EventBridge.
module "global_bucket_notification" {
  source  = "terraform-aws-modules/s3-bucket/aws//modules/notification"
  version = "5.15.4"

  bucket     = module.global_bucket.s3_bucket_id
  bucket_arn = module.global_bucket.s3_bucket_arn

  lambda_notifications = {
    "replication-worker" = {
      function_arn   = module.function["replication-worker"].lambda_function_arn
      function_name  = module.function["replication-worker"].lambda_function_name
      events         = ["s3:ObjectCreated:*"]
      source_account = local.account
    }
  }
}

# A copy arrives in a regional bucket, and calls the function of the bucket's AWS region.
module "regional_bucket_notification" {
  source  = "terraform-aws-modules/s3-bucket/aws//modules/notification"
  version = "5.15.4"

  for_each = local.regional_buckets

  region     = local.aws_regions[each.key]
  bucket     = module.regional_bucket[each.key].s3_bucket_id
  bucket_arn = module.regional_bucket[each.key].s3_bucket_arn

  # One for all below: a function's policy has room for some sixty.
  create_lambda_permission = false

  lambda_notifications = {
    "regional-sync" = {
      function_arn  = module.regional_sync[local.aws_regions[each.key]].lambda_function_arn
      function_name = module.regional_sync[local.aws_regions[each.key]].lambda_function_name
      events        = ["s3:ObjectCreated:*"]
    }
  }

  depends_on = [aws_lambda_permission.regional_buckets]
}

# The account is named: the ARN of a bucket does not say whose it is.
resource "aws_lambda_permission" "regional_buckets" {
  for_each = local.bucket_regions

  region         = each.value
  statement_id   = "AllowRegionalBuckets"
  function_name  = module.regional_sync[each.value].lambda_function_name
  action         = "lambda:InvokeFunction"
  principal      = "s3.amazonaws.com"
  source_arn     = local.any_regional_bucket
  source_account = local.account
}
