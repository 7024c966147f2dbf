# What CodeBuild runs. Made and signed is apart: whoever may write to the source decides what is run by `make`, and does not come to the key
# that way. Each stage has a project of its own, whose role writes to that stage only.
locals {
  common_environment = { ARTIFACT_BUCKET = aws_s3_bucket.artifacts.id }

  projects = merge(
    {
      make = {
        description = "Makes a build of the source"
        script      = "make.sh"
        output      = "build-id"
        compute     = var.build_compute
        image       = var.build_image
        environment = merge(local.common_environment, { BUILD_COMMAND = var.build_command, BUILD_FILE = var.build_file, BUILD_PREFIX = var.build_prefix })
        secrets     = {}
      }
      sign = {
        description = "Signs a build that was made"
        script      = "sign.sh"
        output      = "build-id"
        compute     = "BUILD_GENERAL1_SMALL"
        image       = "aws/codebuild/amazonlinux-x86_64-standard:5.0"
        environment = merge(local.common_environment, { HARNESS_URL = var.harness_url })
        secrets     = { SIGNING_KEY = var.signing_key_secret_arn }
      }
    },
    {
      for stage in var.stages : "publish-${stage}" => {
        description = "Puts a signed build where stage ${stage} takes it from"
        script      = "publish.sh"
        output      = "deploy.json"
        compute     = "BUILD_GENERAL1_SMALL"
        image       = "aws/codebuild/amazonlinux-x86_64-standard:5.0"
        environment = merge(local.common_environment, {
          GLOBAL_BUCKET       = "global-builds-${stage}"
          DESTINATION_BUCKETS = jsonencode([for region in var.regions : "${region}-builds-${stage}"])
          # A copy within S3 is made in parts of 1 GiB: it takes no more than 10,000 of them, and 5 GiB each.
          PART_BYTES = "1073741824"
        })
        secrets = {}
      }
    },
  )
}

resource "aws_codebuild_project" "project" {
  for_each = local.projects

  name           = "${var.name}-${each.key}"
  description    = each.value.description
  service_role   = aws_iam_role.project[each.key].arn
  encryption_key = aws_kms_key.artifacts.arn
  build_timeout  = 60

  source {
    type = "CODEPIPELINE"

    # JSON is YAML too: the script stands in a file of its own, where it can be read and tried.
    buildspec = jsonencode({
      version   = "0.2"
      env       = { shell = "bash" }
      phases    = { build = { commands = [file("${path.module}/${each.value.script}")] } }
      artifacts = { files = [each.value.output] }
    })
  }

  artifacts {
    type = "CODEPIPELINE"
  }

  environment {
    type         = "LINUX_CONTAINER"
    compute_type = each.value.compute
    image        = each.value.image

    dynamic "environment_variable" {
      for_each = each.value.environment

      content {
        name  = environment_variable.key
        value = environment_variable.value
      }
    }

    dynamic "environment_variable" {
      for_each = each.value.secrets

      content {
        name  = environment_variable.key
        value = environment_variable.value
        type  = "SECRETS_MANAGER"
      }
    }
  }

  logs_config {
    cloudwatch_logs {
      group_name = aws_cloudwatch_log_group.project[each.key].name
    }
  }
}

resource "aws_cloudwatch_log_group" "project" {
  for_each = local.projects

  name              = "/aws/codebuild/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
}
