# Every name, composed here and nowhere else, as crates/cloud/src/names.rs composes them for the code.
# crates/cloud/tests/terraform.rs evaluates this file and compares.
locals {
  stage  = var.stage == "" ? "local" : var.stage
  suffix = var.stage == "" ? "" : "-${var.stage}"

  global_bucket    = "global-builds${local.suffix}"
  regional_buckets = { for region in var.regions : region => "${region}-builds${local.suffix}" }

  tracking_table       = "FileCopyTracking${local.suffix}"
  deployment_log_table = "host-deployment-logs${local.suffix}"

  workflow      = "file-copy-workflow${local.suffix}"
  failure_topic = "file-copy-failures${local.suffix}"

  region_queues              = { for region in var.regions : region => "${region}-builds-events${local.suffix}" }
  region_dead_letter_queues  = { for region in var.regions : region => "${region}-builds-events-dead-letter${local.suffix}" }
  function_dead_letter_queue = "lambda-dead-letter${local.suffix}"

  api       = "fleetcast${local.suffix}"
  api_stage = var.stage == "" ? "dev" : var.stage
}
