# Every name, composed here and nowhere else, as crates/cloud/src/names.rs composes them for the code.
# crates/cloud/tests/terraform.rs evaluates this file and compares.
locals {
  stage  = var.stage == "" ? "local" : var.stage
  suffix = var.stage == "" ? "" : "-${var.stage}"

  global_bucket    = "global-builds${local.suffix}"
  regional_buckets = { for region, aws_region in var.regions : region => "${region}-builds${local.suffix}" }

  # Region of the fleet to the AWS region that it is in.
  aws_regions = { for region, aws_region in var.regions : region => coalesce(aws_region, var.aws_region) }
  # The AWS regions with buckets of the fleet: a bucket calls functions of its own only.
  bucket_regions = toset(values(local.aws_regions))
  # Those and the one that everything else is in.
  all_aws_regions = toset(concat([var.aws_region], values(local.aws_regions)))

  tracking_table       = "FileCopyTracking${local.suffix}"
  deployment_log_table = "host-deployment-logs${local.suffix}"

  workflow      = "file-copy-workflow${local.suffix}"
  failure_topic = "file-copy-failures${local.suffix}"
  alarm_topic   = "fleetcast-alarms${local.suffix}"

  region_queues = { for region, bucket in local.regional_buckets : region => "${region}-builds-events${local.suffix}" }
  # The queues of a region's second seeder and those after it: "region-a 2" to what it is called and its region.
  more_seeder_queues = {
    for pair in setproduct(keys(local.regional_buckets), range(2, var.seeders_per_region + 1)) : "${pair[0]} ${pair[1]}" => {
      region = pair[0]
      name   = "${pair[0]}-builds-events-seeder-${pair[1]}${local.suffix}"
    }
  }
  region_dead_letter_queues  = { for region, bucket in local.regional_buckets : region => "${region}-builds-events-dead-letter${local.suffix}" }
  function_dead_letter_queue = "lambda-dead-letter${local.suffix}"

  api       = "code-deploy-api${local.suffix}"
  api_stage = var.stage == "" ? "dev" : var.stage

  # Names of roles and policies are the account's, whatever the AWS region.
  iam_prefix = "fleetcast-"
  partition  = data.aws_partition.current.partition
  account    = data.aws_caller_identity.current.account_id
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}
