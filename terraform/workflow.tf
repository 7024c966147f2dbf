module "file_copy_workflow" {
  source  = "terraform-aws-modules/step-functions/aws"
  version = "5.0.2"

  name      = local.workflow
  role_name = "${local.iam_prefix}${local.workflow}"
  type      = "STANDARD"
  definition = templatefile("${path.module}/step_function_definition.json", {
    partition         = local.partition
    tracking_table    = local.tracking_table
    region_copier_arn = module.region_copier.lambda_function_arn
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
      Sid      = "HaveCopiesMade"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = module.region_copier.lambda_function_arn
    },
    {
      Sid      = "TrackIt"
      Effect   = "Allow"
      Action   = ["dynamodb:UpdateItem"]
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

resource "aws_sns_topic_subscription" "failures" {
  for_each = toset(var.alarm_emails)

  topic_arn = aws_sns_topic.failures.arn
  protocol  = "email"
  endpoint  = each.value
}
