# Who is told when something ends where nobody looks. Not by the topic of failures: CloudWatch may not use the key of that one.
resource "aws_sns_topic" "alarms" {
  for_each = local.all_aws_regions

  region = each.value
  name   = local.alarm_topic
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = { for pair in setproduct(local.all_aws_regions, var.alarm_emails) : "${pair[0]} ${pair[1]}" => pair }

  region    = each.value[0]
  topic_arn = aws_sns_topic.alarms[each.value[0]].arn
  protocol  = "email"
  endpoint  = each.value[1]
}

locals {
  # Each is in the AWS region of what it looks at, as CloudWatch has it.
  alarms = merge(
    {
      for region, queue in local.region_dead_letter_queues : "${region}-dead-letters" => {
        region      = local.aws_regions[region]
        description = "Builds that no seeder of ${region} could take up"
        namespace   = "AWS/SQS"
        metric      = "ApproximateNumberOfMessagesVisible"
        statistic   = "Maximum"
        dimensions  = { QueueName = queue }
      }
    },
    {
      for region in local.all_aws_regions : "function-dead-letters-${region}" => {
        region      = region
        description = "Events of buckets that a function in ${region} refused each time"
        namespace   = "AWS/SQS"
        metric      = "ApproximateNumberOfMessagesVisible"
        statistic   = "Maximum"
        dimensions  = { QueueName = local.function_dead_letter_queue }
      }
    },
    {
      for metric in ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionThrottled"] : "workflow-${metric}" => {
        region      = var.aws_region
        description = "A build that did not reach every region"
        namespace   = "AWS/States"
        metric      = metric
        statistic   = "Sum"
        dimensions  = { StateMachineArn = module.file_copy_workflow.state_machine_arn }
      }
    },
    {
      for function in concat(keys(local.functions), ["region-copier"]) : "${function}-throttles" => {
        region      = var.aws_region
        description = "Calls of ${function} that Lambda turned away"
        namespace   = "AWS/Lambda"
        metric      = "Throttles"
        statistic   = "Sum"
        dimensions  = { FunctionName = "${function}${local.suffix}" }
      }
    },
    {
      "deployment-log-throttles" = {
        region      = var.aws_region
        description = "Rows of hosts that the table turned away: they come later (log_writes_per_second)"
        namespace   = "AWS/DynamoDB"
        metric      = "WriteThrottleEvents"
        statistic   = "Sum"
        dimensions  = { TableName = local.deployment_log_table }
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "alarm" {
  for_each = local.alarms

  region              = each.value.region
  alarm_name          = "fleetcast-${each.key}${local.suffix}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms[each.value.region].arn]
  ok_actions          = [aws_sns_topic.alarms[each.value.region].arn]
}

locals {
  no_rows_alarm = "fleetcast-no-rows${local.suffix}"
}

# A build that reached its regions and no host: seeders that are gone, or a queue that was purged, fail nowhere else. A window is
# rows_overdue_minutes long, and an alarm comes when a replication ended well in one window and neither that one nor the next has a row.
# In metric math the value of the window before is `x - DIFF(x)`.
resource "aws_cloudwatch_metric_alarm" "no_rows" {
  count = local.on_aws ? 1 : 0

  region              = var.aws_region
  alarm_name          = local.no_rows_alarm
  alarm_description   = "A build reached its regions, and no host has written a row for ${var.rows_overdue_minutes} minutes. Nothing is wrong where hosts had that build already."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms[var.aws_region].arn]
  ok_actions          = [aws_sns_topic.alarms[var.aws_region].arn]

  metric_query {
    id          = "overdue"
    label       = "Replications whose rows are overdue"
    expression  = "IF((copied - DIFF(copied)) > 0 AND (rows + rows - DIFF(rows)) == 0, 1, 0)"
    return_data = true
  }

  metric_query {
    id         = "copied"
    expression = "FILL(succeeded, 0)"
  }

  metric_query {
    id         = "rows"
    expression = "FILL(written, 0)"
  }

  metric_query {
    id = "succeeded"

    metric {
      namespace   = "AWS/States"
      metric_name = "ExecutionsSucceeded"
      dimensions  = { StateMachineArn = module.file_copy_workflow.state_machine_arn }
      stat        = "Sum"
      period      = var.rows_overdue_minutes * 60
    }
  }

  metric_query {
    id = "written"

    metric {
      namespace   = "AWS/DynamoDB"
      metric_name = "ConsumedWriteCapacityUnits"
      dimensions  = { TableName = local.deployment_log_table }
      stat        = "Sum"
      period      = var.rows_overdue_minutes * 60
    }
  }
}
