# What a machine needs to be a host: a role, and a piece of user data that installs the agent and tells it where the directory is. The machines are
# yours: put `user_data` into their launch template, or before what you have there.
data "aws_partition" "current" {}

locals {
  package = regex("^s3://([^/]+)/(.+)$", var.package_url)
  user_data = templatefile("${path.module}/user-data.sh.tftpl", {
    package_url    = var.package_url
    parameter_name = var.parameter_name
    region         = var.region
    logs           = var.log
    logs_itself    = var.policy_arn != null
    stage          = var.stage
    log_region     = var.log_region
  })
}

resource "aws_iam_role" "host" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "log" {
  count = var.policy_arn == null ? 0 : 1

  role       = aws_iam_role.host.name
  policy_arn = var.policy_arn
}

resource "aws_iam_role_policy" "machine" {
  name = "machine"
  role = aws_iam_role.host.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "FindTheDirectory"
        Effect   = "Allow"
        Action   = ["ssm:GetParameter"]
        Resource = var.parameter_arn
      },
      {
        Sid      = "FetchThePackage"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${local.package[0]}/${local.package[1]}"
      },
    ]
  })
}

resource "aws_iam_instance_profile" "host" {
  name = var.name
  role = aws_iam_role.host.name
}
