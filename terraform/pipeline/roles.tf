# Each role may do what its action does, and no more. What is passed on is below a folder that CodePipeline names by the pipeline.
locals {
  passed_on = "${aws_s3_bucket.artifacts.arn}/${var.name}/*"
  made      = "${aws_s3_bucket.artifacts.arn}/made/*"
  signed    = "${aws_s3_bucket.artifacts.arn}/signed/*"
  harness   = "arn:${local.partition}:s3:::${trimprefix(var.harness_url, "s3://")}"

  use_the_key = {
    Sid      = "UseTheKeyOfArtifacts"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = [aws_kms_key.artifacts.arn]
  }

  pipeline_statements = concat(
    [
      local.use_the_key,
      {
        Sid      = "PassArtifactsOn"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
        Resource = [local.passed_on]
      },
      {
        Sid      = "SeeTheBucketOfArtifacts"
        Effect   = "Allow"
        Action   = ["s3:GetBucketVersioning", "s3:GetBucketLocation", "s3:GetBucketAcl"]
        Resource = [aws_s3_bucket.artifacts.arn]
      },
      {
        Sid      = "RunProjects"
        Effect   = "Allow"
        Action   = ["codebuild:StartBuild", "codebuild:BatchGetBuilds"]
        Resource = [for project in keys(local.projects) : "arn:${local.partition}:codebuild:${var.aws_region}:${local.account}:project/${var.name}-${project}"]
      },
      {
        Sid      = "DeployToStages"
        Effect   = "Allow"
        Action   = ["lambda:InvokeFunction"]
        Resource = [for stage in var.stages : "arn:${local.partition}:lambda:${var.aws_region}:${local.account}:function:pipeline-action-${stage}"]
      },
      {
        Sid      = "AskForApproval"
        Effect   = "Allow"
        Action   = ["sns:Publish"]
        Resource = [aws_sns_topic.approvals.arn]
      },
    ],
    local.from_bucket ? [
      {
        Sid      = "TakeTheSource"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = ["arn:${local.partition}:s3:::${coalesce(var.source_bucket, "-")}/${var.source_key}"]
      },
      {
        Sid      = "SeeTheBucketOfTheSource"
        Effect   = "Allow"
        Action   = ["s3:GetBucketVersioning", "s3:GetBucketLocation", "s3:GetBucketAcl"]
        Resource = ["arn:${local.partition}:s3:::${coalesce(var.source_bucket, "-")}"]
      },
      ] : [
      {
        Sid      = "TakeTheSource"
        Effect   = "Allow"
        Action   = ["codestar-connections:UseConnection", "codeconnections:UseConnection"]
        Resource = [coalesce(var.connection_arn, "-")]
      },
    ],
  )

  # What each project does beside its log and what is passed on to it and from it.
  project_statements = merge(
    {
      make = [
        {
          Sid      = "KeepWhatWasMade"
          Effect   = "Allow"
          Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
          Resource = [local.made]
        },
      ]
      sign = concat(
        [
          {
            Sid      = "ReadWhatWasMade"
            Effect   = "Allow"
            Action   = ["s3:GetObject"]
            Resource = [local.made, local.harness]
          },
          {
            Sid      = "KeepWhatIsSigned"
            Effect   = "Allow"
            Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
            Resource = [local.signed]
          },
          {
            Sid      = "ReadTheKeyThatSigns"
            Effect   = "Allow"
            Action   = ["secretsmanager:GetSecretValue"]
            Resource = [var.signing_key_secret_arn]
          },
        ],
        var.signing_key_kms_key_arn == null ? [] : [
          {
            Sid      = "DecryptTheKeyThatSigns"
            Effect   = "Allow"
            Action   = ["kms:Decrypt"]
            Resource = [var.signing_key_kms_key_arn]
          },
        ],
      )
    },
    {
      for stage in var.stages : "publish-${stage}" => concat(
        [
          {
            Sid      = "ReadWhatIsSigned"
            Effect   = "Allow"
            Action   = ["s3:GetObject"]
            Resource = [local.signed]
          },
          {
            Sid      = "Publish"
            Effect   = "Allow"
            Action   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
            Resource = ["arn:${local.partition}:s3:::global-builds-${stage}/*"]
          },
          {
            Sid      = "TellMissingFromForbidden"
            Effect   = "Allow"
            Action   = ["s3:ListBucket"]
            Resource = ["arn:${local.partition}:s3:::global-builds-${stage}"]
          },
        ],
        contains(keys(var.stage_kms_key_arns), stage) ? [
          {
            Sid      = "UseTheKeyOfTheStage"
            Effect   = "Allow"
            Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
            Resource = [var.stage_kms_key_arns[stage]]
          },
        ] : [],
      )
    },
  )
}

resource "aws_iam_role" "pipeline" {
  name = var.name

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "codepipeline.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "pipeline" {
  name   = "pipeline"
  role   = aws_iam_role.pipeline.name
  policy = jsonencode({ Version = "2012-10-17", Statement = local.pipeline_statements })
}

resource "aws_iam_role" "project" {
  for_each = local.projects

  name = "${var.name}-${each.key}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "codebuild.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "project" {
  for_each = local.projects

  name = "project"
  role = aws_iam_role.project[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        local.use_the_key,
        {
          Sid      = "WriteItsLog"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["${aws_cloudwatch_log_group.project[each.key].arn}:*"]
        },
        {
          Sid      = "TakeAndPassOn"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
          Resource = [local.passed_on]
        },
      ],
      local.project_statements[each.key],
    )
  })
}
