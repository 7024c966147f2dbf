# `terraform test` plans the pipeline without an account: the provider is there for its schema only.
mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/artifacts" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/a" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::artifacts" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:approvals" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:a" }
  }
}

variables {
  harness_url            = "s3://packages/harness"
  signing_key_secret_arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:release-abc"
}

run "from_a_bucket" {
  variables {
    source_bucket = "sources"
  }

  assert {
    condition     = [for stage in aws_codepipeline.builds.stage : stage.name] == ["source", "build", "dev", "staging", "prod"]
    error_message = "The stages are not in their order."
  }

  assert {
    condition     = [for stage in aws_codepipeline.builds.stage : length([for action in stage.action : action if action.category == "Approval"])] == [0, 0, 0, 1, 1]
    error_message = "Somebody is to approve before each stage but the first."
  }

  assert {
    condition     = aws_codepipeline.builds.stage[0].action[0].provider == "S3"
    error_message = "The source is not the bucket."
  }

  assert {
    condition     = length(aws_codebuild_project.project) == 5
    error_message = "Expected projects that make and sign, and one for each stage."
  }
}

run "from_a_connection" {
  command = plan

  variables {
    connection_arn = "arn:aws:codestar-connections:us-east-1:123456789012:connection/c"
    repository     = "acme/shop"
    stages         = ["prod-acme"]
  }

  assert {
    condition     = aws_codepipeline.builds.stage[0].action[0].configuration["FullRepositoryId"] == "acme/shop"
    error_message = "The source is not the repository."
  }

  assert {
    condition     = length(aws_codepipeline.builds.stage) == 3
    error_message = "Expected one stage to deploy to."
  }
}

run "from_nowhere" {
  command = plan

  expect_failures = [aws_codepipeline.builds]
}

run "from_two_places" {
  command = plan

  variables {
    source_bucket  = "sources"
    connection_arn = "arn:aws:codestar-connections:us-east-1:123456789012:connection/c"
    repository     = "acme/shop"
  }

  expect_failures = [aws_codepipeline.builds]
}

run "with_a_stage_that_is_none" {
  command = plan

  variables {
    source_bucket = "sources"
    stages        = ["dev", "production"]
  }

  expect_failures = [var.stages]
}
