# How the stage stands, on one page of CloudWatch: what is on its way, what has failed, and whether hosts say that they have it.
locals {
  # What seeders listen to: of each region, the first and those of more seeders.
  seeder_queues = concat(
    [for region, queue in local.region_queues : { region = region, name = queue }],
    values(local.more_seeder_queues),
  )

  # Each is a graph: [namespace, metric, dimension, value, { region }] for each line.
  graphs = [
    {
      title  = "Replications"
      region = var.aws_region
      stat   = "Sum"
      lines = [
        for metric in ["ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionThrottled"] :
        ["AWS/States", metric, "StateMachineArn", module.file_copy_workflow.state_machine_arn, { region = var.aws_region }]
      ]
    },
    {
      title  = "Write units of the rows of hosts, and rows that were turned away"
      region = var.aws_region
      stat   = "Sum"
      lines = [
        for metric in ["ConsumedWriteCapacityUnits", "WriteThrottleEvents"] :
        ["AWS/DynamoDB", metric, "TableName", local.deployment_log_table, { region = var.aws_region }]
      ]
    },
    {
      title  = "Builds that no seeder has taken up yet"
      region = var.aws_region
      stat   = "Maximum"
      lines = [
        for queue in local.seeder_queues :
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.name, { region = local.aws_regions[queue.region] }]
      ]
    },
    {
      title  = "How long the oldest of them waits, in seconds"
      region = var.aws_region
      stat   = "Maximum"
      lines = [
        for queue in local.seeder_queues :
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue.name, { region = local.aws_regions[queue.region] }]
      ]
    },
    {
      title  = "Dead letters"
      region = var.aws_region
      stat   = "Maximum"
      lines = concat(
        [for region, queue in local.region_dead_letter_queues : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue, { region = local.aws_regions[region] }]],
        [for region in local.all_aws_regions : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", local.function_dead_letter_queue, { region = region }]],
      )
    },
    {
      title  = "Calls of functions that failed, and that Lambda turned away"
      region = var.aws_region
      stat   = "Sum"
      lines = concat(
        [for pair in setproduct(concat(keys(local.functions), ["region-copier"]), ["Errors", "Throttles"]) : ["AWS/Lambda", pair[1], "FunctionName", "${pair[0]}${local.suffix}", { region = var.aws_region }]],
        [for pair in setproduct(local.bucket_regions, ["Errors", "Throttles"]) : ["AWS/Lambda", pair[1], "FunctionName", "regional-sync${local.suffix}", { region = pair[0] }]],
      )
    },
  ]
}

# Local stacks have no dashboards.
resource "aws_cloudwatch_dashboard" "stage" {
  count = local.on_aws ? 1 : 0

  dashboard_name = "fleetcast${local.suffix}"
  dashboard_body = jsonencode({
    widgets = concat(
      [
        for graph in local.graphs : {
          type   = "metric"
          width  = 12
          height = 6
          properties = {
            title   = graph.title
            region  = graph.region
            stat    = graph.stat
            period  = 60
            view    = "timeSeries"
            metrics = graph.lines
          }
        }
      ],
      [
        for region in local.all_aws_regions : {
          type   = "alarm"
          width  = 24
          height = 3
          properties = {
            title = "Alarms in ${region}"
            alarms = concat(
              [for name, alarm in local.alarms : "arn:${local.partition}:cloudwatch:${region}:${local.account}:alarm:fleetcast-${name}${local.suffix}" if alarm.region == region],
              [for at in [var.aws_region] : "arn:${local.partition}:cloudwatch:${region}:${local.account}:alarm:${local.no_rows_alarm}" if at == region],
            )
          }
        }
      ],
    )
  })
}
