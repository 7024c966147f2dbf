module "function" {
  source  = "terraform-aws-modules/lambda/aws"
  version = "8.8.1"

  for_each = local.functions

  function_name = "${each.key}${local.suffix}"
  description   = each.value.description
  handler       = "bootstrap"
  runtime       = "provided.al2023"
  architectures = [var.lambda_architecture]
  memory_size   = each.value.memory_mib
  timeout       = each.value.timeout_seconds

  create_package         = false
  local_existing_package = "${path.module}/${var.lambda_package_folder}/${each.key}/bootstrap.zip"

  environment_variables = merge(each.value.environment, local.common_environment)

  # Lambda's own retries of an event that failed; after them it goes to the queue.
  dead_letter_target_arn    = each.value.by_events ? module.function_dead_letter_queue.queue_arn : null
  attach_dead_letter_policy = each.value.by_events

  role_name                         = "${each.key}${local.suffix}"
  attach_policy_json                = true
  policy_json                       = jsonencode({ Version = "2012-10-17", Statement = each.value.statements })
  cloudwatch_logs_retention_in_days = var.log_retention_days
  # The log group is made here, with its retention; a function that could make one would make it without.
  attach_create_log_group_permission = false
}

locals {
  common_environment = merge(
    { RUST_LOG = var.rust_log },
    # The SDK would go to AWS without it.
    local.on_aws ? {} : { AWS_ENDPOINT_URL = coalesce(var.function_endpoint_url, var.endpoint_url) },
  )

  destination_buckets = join(",", values(local.regional_buckets))
  queue_urls          = join(",", [for region, bucket in local.regional_buckets : "${bucket}=${module.region_queue[region].queue_url}"])

  start_the_workflow = {
    Sid      = "StartTheWorkflow"
    Effect   = "Allow"
    Action   = ["states:StartExecution"]
    Resource = module.file_copy_workflow.state_machine_arn
  }

  # by_events: invoked by events, so that what it refuses needs a dead-letter queue. The others answer their caller.
  functions = {
    "build-worker" = {
      description     = "POST /builds: produces a build's artifact and uploads it to the global bucket"
      memory_mib      = 1024
      timeout_seconds = 300
      by_events       = false
      environment     = { GLOBAL_BUCKET = local.global_bucket }
      statements = [
        {
          Sid      = "WriteAndReadBuilds"
          Effect   = "Allow"
          Action   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject"]
          Resource = "${module.global_bucket.s3_bucket_arn}/*"
        },
        {
          Sid      = "TellMissingFromForbidden"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = module.global_bucket.s3_bucket_arn
        },
      ]
    }

    "replication-worker" = {
      description     = "A build in the global bucket: starts the workflow that copies it to the regions"
      memory_mib      = 256
      timeout_seconds = 30
      by_events       = true
      environment = {
        DESTINATION_BUCKETS = local.destination_buckets
        STATE_MACHINE_ARN   = module.file_copy_workflow.state_machine_arn
      }
      statements = [local.start_the_workflow]
    }

    "step-function-invoker" = {
      description     = "POST /deploy and POST /step-function: checks the workflow's input and starts it"
      memory_mib      = 256
      timeout_seconds = 29
      by_events       = false
      environment = {
        GLOBAL_BUCKET       = local.global_bucket
        DESTINATION_BUCKETS = local.destination_buckets
        STATE_MACHINE_ARN   = module.file_copy_workflow.state_machine_arn
      }
      statements = [
        local.start_the_workflow,
        {
          Sid      = "SeeBuilds"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = "${module.global_bucket.s3_bucket_arn}/*"
        },
        {
          Sid      = "FindTheNewestBuild"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = module.global_bucket.s3_bucket_arn
        },
      ]
    }

    "regional-sync" = {
      description     = "A build in a regional bucket: tells the region's seeder by its queue"
      memory_mib      = 256
      timeout_seconds = 30
      by_events       = true
      environment     = { QUEUE_URLS = local.queue_urls }
      statements = [
        {
          Sid      = "TellTheSeeders"
          Effect   = "Allow"
          Action   = ["sqs:SendMessage"]
          Resource = [for queue in module.region_queue : queue.queue_arn]
        },
      ]
    }

    "pipeline-action" = {
      description     = "A job of CodePipeline: starts the workflow, follows it and reports how it ended"
      memory_mib      = 256
      timeout_seconds = 60
      by_events       = false
      environment     = { STATE_MACHINE_ARN = module.file_copy_workflow.state_machine_arn }
      statements = [
        local.start_the_workflow,
        {
          Sid      = "FollowTheExecution"
          Effect   = "Allow"
          Action   = ["states:DescribeExecution"]
          Resource = "${replace(module.file_copy_workflow.state_machine_arn, ":stateMachine:", ":execution:")}:*"
        },
        {
          Sid      = "ReadTheInput"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:GetObjectVersion"]
          Resource = concat(["${module.global_bucket.s3_bucket_arn}/*"], var.pipeline_artifact_bucket == null ? [] : ["arn:aws:s3:::${var.pipeline_artifact_bucket}/*"])
        },
        {
          # CodePipeline knows no resources for these two.
          Sid      = "ReportTheJob"
          Effect   = "Allow"
          Action   = ["codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult"]
          Resource = "*"
        },
      ]
    }
  }
}
