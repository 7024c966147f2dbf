# What a region's first seeder listens to. A message that was taken up five times and never deleted goes to the dead-letter queue.
module "region_queue" {
  source  = "terraform-aws-modules/sqs/aws"
  version = "5.2.1"

  for_each = local.region_queues

  region   = local.aws_regions[each.key]
  name     = each.value
  dlq_name = local.region_dead_letter_queues[each.key]

  create_dlq     = true
  redrive_policy = { maxReceiveCount = 5 }

  # A seeder extends it while it works, so that the message of one that died comes back soon.
  visibility_timeout_seconds = 60
  receive_wait_time_seconds  = 20
  message_retention_seconds  = local.fourteen_days

  sqs_managed_sse_enabled       = true
  dlq_sqs_managed_sse_enabled   = true
  dlq_message_retention_seconds = local.fourteen_days

  # By name: these queues lead to it, which has to be there before them.
  dlq_redrive_allow_policy = {
    sourceQueueArns = concat(
      ["arn:${local.partition}:sqs:${local.aws_regions[each.key]}:${local.account}:${each.value}"],
      [for queue in values(local.more_seeder_queues) : "arn:${local.partition}:sqs:${local.aws_regions[each.key]}:${local.account}:${queue.name}" if queue.region == each.key],
    )
  }
}

# What the others of a region listen to, each its own: a queue gives a message to one listener. They share its dead letters.
module "more_seeder_queue" {
  source  = "terraform-aws-modules/sqs/aws"
  version = "5.2.1"

  for_each = local.more_seeder_queues

  region         = local.aws_regions[each.value.region]
  name           = each.value.name
  redrive_policy = { deadLetterTargetArn = module.region_queue[each.value.region].dead_letter_queue_arn, maxReceiveCount = 5 }

  visibility_timeout_seconds = 60
  receive_wait_time_seconds  = 20
  message_retention_seconds  = local.fourteen_days
  sqs_managed_sse_enabled    = true
}

# Events that replication-worker and regional-sync refused in each of Lambda's three attempts: a function takes a queue of its
# own AWS region only.
module "function_dead_letter_queue" {
  source  = "terraform-aws-modules/sqs/aws"
  version = "5.2.1"

  for_each = local.all_aws_regions

  region                    = each.value
  name                      = local.function_dead_letter_queue
  sqs_managed_sse_enabled   = true
  message_retention_seconds = local.fourteen_days
}

locals {
  fourteen_days = 1209600
}
