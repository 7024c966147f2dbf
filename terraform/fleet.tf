# What the machines of the fleet may do: attach these policies to the roles that they run under.
resource "aws_iam_policy" "seeder" {
  for_each = local.regional_buckets

  name        = "${local.iam_prefix}${each.key}-seeder${local.suffix}"
  description = "A seeder of ${each.key}: hears of builds and pulls them"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid    = "HearOfBuilds"
        Effect = "Allow"
        Action = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"]
        Resource = concat(
          [module.region_queue[each.key].queue_arn],
          [for key, queue in local.more_seeder_queues : module.more_seeder_queue[key].queue_arn if queue.region == each.key],
        )
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
      {
        # `seeder --log`: each row in the name that its host has proven.
        Sid      = "WriteRowsOfHosts"
        Effect   = "Allow"
        Action   = ["dynamodb:PutItem"]
        Resource = module.deployment_log_table.dynamodb_table_arn
      },
    ], local.kms_statements)
  })
}

# Hosts hand their rows to their seeder and need nothing of AWS, unless they are to write themselves.
resource "aws_iam_policy" "host" {
  count = var.hosts_write_rows ? 1 : 0

  name        = "${local.iam_prefix}host${local.suffix}"
  description = "A host that writes that it has a build itself, and could write so of any other"
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

# Whoever runs `harness upload`, `watch`, `status`, `count`, `doctor` and `dead-letters`.
resource "aws_iam_policy" "operator" {
  name        = "${local.iam_prefix}operator${local.suffix}"
  description = "An operator: uploads builds, posts to the API, and sees how the pipeline stands"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid      = "UploadBuilds"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        Resource = "${module.global_bucket.s3_bucket_arn}/*"
      },
      {
        Sid       = "SeeBuckets"
        Effect    = "Allow"
        Action    = ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketVersioning", "s3:GetBucketNotification"]
        Resource  = [module.global_bucket.s3_bucket_arn, local.any_regional_bucket]
        Condition = local.of_this_account
      },
      {
        Sid      = "SeeRows"
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"]
        Resource = [module.tracking_table.dynamodb_table_arn, module.deployment_log_table.dynamodb_table_arn]
      },
      {
        Sid      = "SeeTheWorkflow"
        Effect   = "Allow"
        Action   = ["states:DescribeStateMachine", "states:ListExecutions"]
        Resource = module.file_copy_workflow.state_machine_arn
      },
      {
        Sid      = "SeeItsExecutions"
        Effect   = "Allow"
        Action   = ["states:DescribeExecution"]
        Resource = "${replace(module.file_copy_workflow.state_machine_arn, ":stateMachine:", ":execution:")}:*"
      },
      {
        # AWS knows no resources for these, or not for a list.
        Sid      = "FindThem"
        Effect   = "Allow"
        Action   = ["states:ListStateMachines", "sns:ListTopics", "cloudwatch:DescribeAlarms", "cloudwatch:GetDashboard"]
        Resource = "*"
      },
      {
        Sid    = "SeeQueues"
        Effect = "Allow"
        Action = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"]
        Resource = concat(local.any_region_queue, [
          "arn:${local.partition}:sqs:*:${local.account}:*-builds-events-dead-letter${local.suffix}",
          "arn:${local.partition}:sqs:*:${local.account}:${local.function_dead_letter_queue}",
        ])
      },
      {
        # Looking at a message is to take it up.
        Sid    = "SeeToDeadLetters"
        Effect = "Allow"
        Action = ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"]
        Resource = [
          "arn:${local.partition}:sqs:*:${local.account}:*-builds-events-dead-letter${local.suffix}",
          "arn:${local.partition}:sqs:*:${local.account}:${local.function_dead_letter_queue}",
        ]
      },
      {
        Sid      = "SendDeadLettersBack"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = local.any_region_queue
      },
      {
        # Why no seeder could take it up: what is there of it in its region's bucket.
        Sid       = "SeeCopies"
        Effect    = "Allow"
        Action    = ["s3:GetObject"]
        Resource  = "${local.any_regional_bucket}/*"
        Condition = local.of_this_account
      },
      {
        Sid      = "TryFunctions"
        Effect   = "Allow"
        Action   = ["lambda:GetFunctionConfiguration", "lambda:InvokeFunction"]
        Resource = [for function in concat(keys(local.functions), ["region-copier", "regional-sync"]) : "arn:${local.partition}:lambda:*:${local.account}:function:${function}${local.suffix}"]
      },
      {
        Sid      = "SeeTheApi"
        Effect   = "Allow"
        Action   = ["apigateway:GET"]
        Resource = "arn:${local.partition}:apigateway:${var.aws_region}::/restapis*"
      },
      {
        Sid      = "PostToTheApi"
        Effect   = "Allow"
        Action   = ["execute-api:Invoke"]
        Resource = "${aws_api_gateway_rest_api.api.execution_arn}/*/POST/*"
      },
    ], local.kms_statements)
  })
}
