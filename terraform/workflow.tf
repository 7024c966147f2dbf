module "file_copy_workflow" {
  source  = "terraform-aws-modules/step-functions/aws"
  version = "5.0.2"

  name = local.workflow
  type = "STANDARD"
  definition = templatefile("${path.module}/step_function_definition.json", {
    tracking_table    = local.tracking_table
    failure_topic_arn = aws_sns_topic.failures.arn
  })

  logging_configuration                  = { level = "ERROR", include_execution_data = true }
  cloudwatch_log_group_name              = "/aws/vendedlogs/states/${local.workflow}"
  cloudwatch_log_group_retention_in_days = var.log_retention_days

  attach_policies_for_integrations = false
  attach_policy_json               = true
  policy_json                      = jsonencode({ Version = "2012-10-17", Statement = local.workflow_statements })
}

locals {
  workflow_statements = [
    {
      Sid      = "ReadTheBuild"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"]
      Resource = "${module.global_bucket.s3_bucket_arn}/*"
    },
    {
      # Without it S3 answers 403 where it should say that the object is not there.
      Sid      = "TellMissingFromForbidden"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = module.global_bucket.s3_bucket_arn
    },
    {
      Sid      = "WriteTheCopies"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      Resource = [for bucket in module.regional_bucket : "${bucket.s3_bucket_arn}/*"]
    },
    {
      Sid      = "TrackIt"
      Effect   = "Allow"
      Action   = ["dynamodb:PutItem", "dynamodb:UpdateItem"]
      Resource = module.tracking_table.dynamodb_table_arn
    },
    {
      Sid      = "SayThatItFailed"
      Effect   = "Allow"
      Action   = ["sns:Publish"]
      Resource = aws_sns_topic.failures.arn
    },
  ]
}

resource "aws_sns_topic" "failures" {
  name              = local.failure_topic
  kms_master_key_id = "alias/aws/sns"
}
