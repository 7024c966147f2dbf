# One row per build and source bucket: the last replication.
module "tracking_table" {
  source  = "terraform-aws-modules/dynamodb-table/aws"
  version = "5.5.0"

  name      = local.tracking_table
  hash_key  = "fileKey"
  range_key = "sourceBucket"
  attributes = [
    { name = "fileKey", type = "S" },
    { name = "sourceBucket", type = "S" },
  ]

  billing_mode                   = "PAY_PER_REQUEST"
  point_in_time_recovery_enabled = true
  server_side_encryption_enabled = true
  deletion_protection_enabled    = !local.disposable
}

# One row per host and build.
module "deployment_log_table" {
  source  = "terraform-aws-modules/dynamodb-table/aws"
  version = "5.5.0"

  name      = local.deployment_log_table
  hash_key  = "build_shard"
  range_key = "host_id"
  attributes = [
    { name = "build_shard", type = "S" },
    { name = "host_id", type = "S" },
  ]

  # A row says when it may go: `expires_at`, in seconds since 1970.
  ttl_enabled        = true
  ttl_attribute_name = "expires_at"

  warm_throughput = var.log_writes_per_second == null ? {} : {
    read_units_per_second  = 12000
    write_units_per_second = var.log_writes_per_second
  }

  billing_mode                   = "PAY_PER_REQUEST"
  point_in_time_recovery_enabled = true
  server_side_encryption_enabled = true
  deletion_protection_enabled    = !local.disposable
}
