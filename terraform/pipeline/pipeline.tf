# A build is made and signed once, and goes from stage to stage as it is. In each stage it is put where people upload builds, and the function
# `pipeline-action` follows its copies until every region has it: CodePipeline asks it again, by its continuation token.
resource "aws_codepipeline" "builds" {
  name           = var.name
  role_arn       = aws_iam_role.pipeline.arn
  pipeline_type  = "V2"
  execution_mode = "QUEUED"

  artifact_store {
    type     = "S3"
    location = aws_s3_bucket.artifacts.id

    encryption_key {
      type = "KMS"
      id   = aws_kms_key.artifacts.arn
    }
  }

  stage {
    name = "source"

    action {
      name             = "source"
      category         = "Source"
      owner            = "AWS"
      provider         = local.from_bucket ? "S3" : "CodeStarSourceConnection"
      version          = "1"
      output_artifacts = ["source"]

      configuration = local.from_bucket ? {
        S3Bucket    = var.source_bucket
        S3ObjectKey = var.source_key
        # The bucket is yours, and may have notifications of its own: it is asked once a minute.
        PollForSourceChanges = "true"
        } : {
        ConnectionArn    = var.connection_arn
        FullRepositoryId = var.repository
        BranchName       = var.branch
      }
    }
  }

  stage {
    name = "build"

    action {
      name             = "make"
      category         = "Build"
      owner            = "AWS"
      provider         = "CodeBuild"
      version          = "1"
      run_order        = 1
      input_artifacts  = ["source"]
      output_artifacts = ["made"]
      configuration    = { ProjectName = aws_codebuild_project.project["make"].name }
    }

    action {
      name             = "sign"
      category         = "Build"
      owner            = "AWS"
      provider         = "CodeBuild"
      version          = "1"
      run_order        = 2
      input_artifacts  = ["made"]
      output_artifacts = ["signed"]
      configuration    = { ProjectName = aws_codebuild_project.project["sign"].name }
    }
  }

  dynamic "stage" {
    for_each = var.stages

    content {
      name = stage.value

      dynamic "action" {
        # Nobody approves of the first.
        for_each = stage.key == 0 ? [] : [stage.value]

        content {
          name      = "approve"
          category  = "Approval"
          owner     = "AWS"
          provider  = "Manual"
          version   = "1"
          run_order = 1

          configuration = {
            NotificationArn = aws_sns_topic.approvals.arn
            CustomData      = "Deploy to ${action.value}? The build is in ${var.stages[stage.key - 1]}."
          }
        }
      }

      action {
        name             = "publish"
        category         = "Build"
        owner            = "AWS"
        provider         = "CodeBuild"
        version          = "1"
        run_order        = 2
        input_artifacts  = ["signed"]
        output_artifacts = ["deploy-${stage.value}"]
        configuration    = { ProjectName = aws_codebuild_project.project["publish-${stage.value}"].name }
      }

      action {
        name            = "deploy"
        category        = "Invoke"
        owner           = "AWS"
        provider        = "Lambda"
        version         = "1"
        run_order       = 3
        input_artifacts = ["deploy-${stage.value}"]

        configuration = {
          FunctionName   = "pipeline-action-${stage.value}"
          UserParameters = jsonencode({ file = "deploy.json" })
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = (var.source_bucket == null) != (var.connection_arn == null)
      error_message = "Expected source_bucket or connection_arn, and not both: the source comes from one place."
    }

    precondition {
      condition     = var.connection_arn == null || var.repository != null
      error_message = "Expected repository, such as acme/shop, beside connection_arn."
    }
  }
}

resource "aws_sns_topic" "approvals" {
  name              = "${var.name}-approvals"
  kms_master_key_id = aws_kms_key.artifacts.arn
}

resource "aws_sns_topic_subscription" "approvals" {
  for_each = toset(var.approval_emails)

  topic_arn = aws_sns_topic.approvals.arn
  protocol  = "email"
  endpoint  = each.value
}

locals {
  from_bucket = var.source_bucket != null
  partition   = data.aws_partition.current.partition
  account     = data.aws_caller_identity.current.account_id
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}
