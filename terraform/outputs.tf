output "api_gateway_url" {
  description = "The HTTP API: POST <url>/builds, <url>/deploy, <url>/step-function."
  value       = local.on_aws ? aws_api_gateway_stage.api.invoke_url : "${trimsuffix(coalesce(var.endpoint_url, "-"), "/")}/restapis/${aws_api_gateway_rest_api.api.id}/${local.api_stage}/_user_request_"
}

output "step_function_arn" {
  description = "The state machine that replicates a build."
  value       = module.file_copy_workflow.state_machine_arn
}

output "global_bucket" {
  description = "The bucket that builds are uploaded to."
  value       = module.global_bucket.s3_bucket_id
}

output "regional_buckets" {
  description = "Region to the bucket that its seeder pulls from."
  value       = { for region, bucket in module.regional_bucket : region => bucket.s3_bucket_id }
}

output "tracking_table" {
  description = "The table of one row per replicated build."
  value       = module.tracking_table.dynamodb_table_id
}

output "deployment_log_table" {
  description = "The table of one row per host and build."
  value       = module.deployment_log_table.dynamodb_table_id
}

output "seeder_queue_names" {
  description = "Region to the queues of its seeders, the first seeder's first: `seeder --queue NAME`, one to each."
  value = {
    for region, queue in local.region_queues : region => concat(
      [queue],
      [for more in values(local.more_seeder_queues) : more.name if more.region == region],
    )
  }
}

output "queue_urls" {
  description = "Region to the queue that its first seeder listens to."
  value       = { for region, queue in module.region_queue : region => queue.queue_url }
}

output "dead_letter_queue_urls" {
  description = "Region to the queue of what its seeders could not take up."
  value       = { for region, queue in module.region_queue : region => queue.dead_letter_queue_url }
}

output "failure_topic_arn" {
  description = "The topic that hears of failed copies. Subscribe to it."
  value       = aws_sns_topic.failures.arn
}

output "seeder_policy_arns" {
  description = "Region to the policy that its seeders' role needs."
  value       = { for region, policy in aws_iam_policy.seeder : region => policy.arn }
}

output "host_policy_arn" {
  description = "The policy that the hosts' role needs where hosts_write_rows; else hosts need none."
  value       = one(aws_iam_policy.host[*].arn)
}

output "operator_policy_arn" {
  description = "The policy that whoever runs harness needs."
  value       = aws_iam_policy.operator.arn
}

output "alarm_topic_arns" {
  description = "AWS region to the topic that hears of its alarms. Subscribe to them, or set alarm_emails."
  value       = { for region, topic in aws_sns_topic.alarms : region => topic.arn }
}
