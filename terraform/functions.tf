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
  dead_letter_target_arn    = each.value.by_events ? module.function_dead_letter_queue[var.aws_region].queue_arn : null
  attach_dead_letter_policy = each.value.by_events

  role_name                         = "${local.iam_prefix}${each.key}${local.suffix}"
  attach_policy_json                = true
  policy_json                       = jsonencode({ Version = "2012-10-17", Statement = each.value.statements })
  cloudwatch_logs_retention_in_days = var.log_retention_days
  # The log group is made here, with its retention; a function that could make one would make it without.
  attach_create_log_group_permission = false

  depends_on = [terraform_data.packages]
}

# The workflow's copies. Step Functions calls services of its own AWS region only: this function asks S3 in the region of each
# bucket. No byte of a build passes through it.
module "region_copier" {
  source  = "terraform-aws-modules/lambda/aws"
  version = "8.8.1"

  function_name = "region-copier${local.suffix}"
  description   = "The workflow's copy of one build to one bucket, in whichever AWS region that is"
  handler       = "bootstrap"
  runtime       = "provided.al2023"
  architectures = [var.lambda_architecture]
  memory_size   = 256
  timeout       = 900

  create_package         = false
  local_existing_package = "${path.module}/${var.lambda_package_folder}/region-copier/bootstrap.zip"

  environment_variables = local.common_environment

  role_name                          = "${local.iam_prefix}region-copier${local.suffix}"
  attach_policy_json                 = true
  policy_json                        = jsonencode({ Version = "2012-10-17", Statement = local.region_copier_statements })
  cloudwatch_logs_retention_in_days  = var.log_retention_days
  attach_create_log_group_permission = false

  depends_on = [terraform_data.packages]
}

# Where a bucket is, its events are taken up: one function of this name in each AWS region that has buckets of the fleet.
module "regional_sync" {
  source  = "terraform-aws-modules/lambda/aws"
  version = "8.8.1"

  for_each = local.bucket_regions

  region        = each.value
  function_name = "regional-sync${local.suffix}"
  description   = "A build in a regional bucket: tells the region's seeder by its queue"
  handler       = "bootstrap"
  runtime       = "provided.al2023"
  architectures = [var.lambda_architecture]
  memory_size   = 256
  timeout       = 30

  create_package         = false
  local_existing_package = "${path.module}/${var.lambda_package_folder}/regional-sync/bootstrap.zip"

  environment_variables = merge(
    { STAGE = var.stage, BUILD_SUFFIXES = local.build_suffixes, SEEDERS_PER_REGION = tostring(var.seeders_per_region) },
    local.common_environment,
  )

  dead_letter_target_arn    = module.function_dead_letter_queue[each.value].queue_arn
  attach_dead_letter_policy = true

  role_name                          = "${local.iam_prefix}regional-sync-${each.value}${local.suffix}"
  attach_policy_json                 = true
  policy_json                        = jsonencode({ Version = "2012-10-17", Statement = local.regional_sync_statements })
  cloudwatch_logs_retention_in_days  = var.log_retention_days
  attach_create_log_group_permission = false

  depends_on = [terraform_data.packages]
}

# A plan without packages would break off in the middle of its apply.
resource "terraform_data" "packages" {
  for_each = toset(concat(keys(local.functions), ["region-copier", "regional-sync"]))

  lifecycle {
    precondition {
      condition     = fileexists("${path.module}/${var.lambda_package_folder}/${each.value}/bootstrap.zip")
      error_message = "The package of function ${each.value} is missing below lambda_package_folder (${var.lambda_package_folder}); `cargo lambda build --release --output-format zip` or scripts/package-lambdas.sh makes it."
    }
  }
}

locals {
  common_environment = merge(
    { RUST_LOG = var.rust_log },
    # The SDK would go to AWS without it.
    local.on_aws ? {} : { AWS_ENDPOINT_URL = coalesce(var.function_endpoint_url, var.endpoint_url) },
  )

  destination_buckets = join(",", values(local.regional_buckets))
  build_suffixes      = join(",", var.build_suffixes)

  # By what their names have in common: a policy with a hundred of them would be longer than AWS takes.
  any_regional_bucket = "arn:${local.partition}:s3:::*-builds${local.suffix}"
  any_region_queue = [
    "arn:${local.partition}:sqs:*:${local.account}:*-builds-events${local.suffix}",
    "arn:${local.partition}:sqs:*:${local.account}:*-builds-events-seeder-*${local.suffix}",
  ]
  of_this_account = { StringEquals = { "aws:ResourceAccount" = local.account } }

  region_copier_statements = concat([
    {
      Sid      = "ReadTheBuild"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"]
      Resource = "${module.global_bucket.s3_bucket_arn}/*"
    },
    {
      # ListBucket: without it S3 answers 403 where it should say that the object is not there.
      Sid      = "KnowTheNewestVersion"
      Effect   = "Allow"
      Action   = ["s3:ListBucket", "s3:ListBucketVersions"]
      Resource = module.global_bucket.s3_bucket_arn
    },
    {
      Sid       = "SeeWhatIsThere"
      Effect    = "Allow"
      Action    = ["s3:ListBucket"]
      Resource  = local.any_regional_bucket
      Condition = local.of_this_account
    },
    {
      # GetObject: to look at what a copy would land on.
      Sid       = "WriteTheCopies"
      Effect    = "Allow"
      Action    = ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload"]
      Resource  = "${local.any_regional_bucket}/*"
      Condition = local.of_this_account
    },
  ], local.kms_statements)

  regional_sync_statements = [
    {
      Sid      = "TellTheSeeders"
      Effect   = "Allow"
      Action   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
      Resource = local.any_region_queue
    },
  ]

  # For who reads an artifact of CodePipeline that is encrypted with a customer's key.
  artifact_kms_statements = var.pipeline_artifact_kms_key_arn == null ? [] : [
    {
      Sid      = "UseTheKeyOfArtifacts"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = var.pipeline_artifact_kms_key_arn
    },
  ]

  start_the_workflow = {
    Sid      = "StartTheWorkflow"
    Effect   = "Allow"
    Action   = ["states:StartExecution"]
    Resource = module.file_copy_workflow.state_machine_arn
  }

  # by_events: invoked by events, so that what it refuses needs a dead-letter queue. The others answer their caller.
  functions = {
    "build-worker" = {
      description = "POST /builds: produces a build's artifact and uploads it to the global bucket"
      memory_mib  = 1024
      # Just before the API gives its caller up: what nobody hears of any more is not to appear.
      timeout_seconds = 28
      by_events       = false
      environment     = { GLOBAL_BUCKET = local.global_bucket }
      statements = concat([
        {
          Sid      = "WriteAndReadBuilds"
          Effect   = "Allow"
          Action   = ["s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectTagging"]
          Resource = "${module.global_bucket.s3_bucket_arn}/*"
        },
        {
          Sid      = "TellMissingFromForbidden"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = module.global_bucket.s3_bucket_arn
        },
      ], local.kms_statements)
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
        STAGE               = var.stage
        BUILD_SUFFIXES      = local.build_suffixes
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

    "pipeline-action" = {
      description     = "A job of CodePipeline: starts the workflow, follows it and reports how it ended"
      memory_mib      = 256
      timeout_seconds = 60
      by_events       = false
      environment     = { STATE_MACHINE_ARN = module.file_copy_workflow.state_machine_arn }
      statements = concat([
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
          Resource = concat(["${module.global_bucket.s3_bucket_arn}/*"], var.pipeline_artifact_bucket == null ? [] : ["arn:${local.partition}:s3:::${var.pipeline_artifact_bucket}/*"])
        },
        {
          # CodePipeline knows no resources for these two.
          Sid      = "ReportTheJob"
          Effect   = "Allow"
          Action   = ["codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult"]
          Resource = "*"
        },
      ], local.kms_statements, local.artifact_kms_statements)
    }
  }
}
