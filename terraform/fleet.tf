# What the machines of the fleet may do: attach these policies to the roles that they run under.
resource "aws_iam_policy" "seeder" {
  for_each = local.regional_buckets

  name        = "${each.key}-seeder${local.suffix}"
  description = "A seeder of ${each.key}: hears of builds and pulls them"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "HearOfBuilds"
        Effect   = "Allow"
        Action   = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"]
        Resource = module.region_queue[each.key].queue_arn
      },
      {
        Sid      = "PullBuilds"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = "${module.regional_bucket[each.key].s3_bucket_arn}/*"
      },
      {
        Sid      = "TellMissingFromForbidden"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = module.regional_bucket[each.key].s3_bucket_arn
      },
    ]
  })
}

resource "aws_iam_policy" "host" {
  name        = "host${local.suffix}"
  description = "A host: writes that it has a build"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "WriteTheDeploymentLog"
        Effect   = "Allow"
        Action   = ["dynamodb:BatchWriteItem", "dynamodb:PutItem"]
        Resource = module.deployment_log_table.dynamodb_table_arn
      },
    ]
  })
}
