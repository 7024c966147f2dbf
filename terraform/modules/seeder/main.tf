# A regional seeder: one machine, replaced when it dies, with a volume that outlives it. On the volume are the key that is part of the directory's
# address, and the spool. The address has a name of Route 53, which the machine keeps when it starts, and is written to SSM for hosts.
data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

data "aws_subnet" "seeder" {
  id = var.subnet_id
}

locals {
  arn_prefix = "arn:${data.aws_partition.current.partition}"
  account    = data.aws_caller_identity.current.account_id
  region     = data.aws_region.current.region
  package    = regex("^s3://([^/]+)/(.+)$", var.package_url)
  user_data = templatefile("${path.module}/user-data.sh.tftpl", {
    volume_id      = aws_ebs_volume.state.id
    package_url    = var.package_url
    queue_name     = var.queue_name
    zone_id        = var.zone_id
    host_name      = var.host_name
    parameter_name = var.parameter_name
    region         = local.region
    logs           = var.log
    stage          = var.stage
    log_region     = var.log_region
  })
}

resource "aws_ebs_volume" "state" {
  availability_zone = data.aws_subnet.seeder.availability_zone
  size              = var.volume_size
  type              = "gp3"
  throughput        = 500
  encrypted         = true
  tags              = { Name = "${var.name}-state" }

  lifecycle {
    # With it goes the key, and with that the address that every host was given.
    prevent_destroy = true
  }
}

resource "aws_ssm_parameter" "directory" {
  name        = var.parameter_name
  description = "Where hosts find the directory of ${var.name}"
  type        = "String"
  value       = "unknown"

  lifecycle {
    # The seeder writes it.
    ignore_changes = [value]
  }
}

resource "aws_iam_role" "seeder" {
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

resource "aws_iam_role_policy_attachment" "builds" {
  role       = aws_iam_role.seeder.name
  policy_arn = var.policy_arn
}

resource "aws_iam_role_policy" "machine" {
  name = "machine"
  role = aws_iam_role.seeder.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "TakeItsVolume"
        Effect   = "Allow"
        Action   = ["ec2:AttachVolume"]
        Resource = ["${local.arn_prefix}:ec2:${local.region}:${local.account}:volume/${aws_ebs_volume.state.id}", "${local.arn_prefix}:ec2:${local.region}:${local.account}:instance/*"]
      },
      {
        Sid      = "TellItsAddress"
        Effect   = "Allow"
        Action   = ["ssm:PutParameter"]
        Resource = aws_ssm_parameter.directory.arn
      },
      {
        Sid      = "KeepItsName"
        Effect   = "Allow"
        Action   = ["route53:ChangeResourceRecordSets"]
        Resource = "${local.arn_prefix}:route53:::hostedzone/${var.zone_id}"
        Condition = {
          "ForAllValues:StringEquals" = {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames" = [var.host_name]
            "route53:ChangeResourceRecordSetsRecordTypes"           = ["A"]
          }
        }
      },
      {
        Sid      = "FetchThePackage"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = "${local.arn_prefix}:s3:::${local.package[0]}/${local.package[1]}"
      },
    ]
  })
}

resource "aws_iam_instance_profile" "seeder" {
  name = var.name
  role = aws_iam_role.seeder.name
}

resource "aws_security_group" "seeder" {
  name_prefix = "${var.name}-"
  description = "A seeder: hosts come to it, and it goes to S3 and SQS"
  vpc_id      = var.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "hosts" {
  for_each = toset(var.host_security_group_ids)

  security_group_id            = aws_security_group.seeder.id
  referenced_security_group_id = each.value
  description                  = "Hosts"
  ip_protocol                  = "tcp"
  from_port                    = 4001
  to_port                      = 4001
}

resource "aws_vpc_security_group_egress_rule" "aws" {
  security_group_id = aws_security_group.seeder.id
  description       = "S3, SQS, SSM, EC2, Route 53"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

# To hosts that it dials back, and to the resolver.
resource "aws_vpc_security_group_egress_rule" "hosts" {
  for_each = toset(var.host_security_group_ids)

  security_group_id            = aws_security_group.seeder.id
  referenced_security_group_id = each.value
  description                  = "Hosts"
  ip_protocol                  = "tcp"
  from_port                    = 1024
  to_port                      = 65535
}

resource "aws_launch_template" "seeder" {
  name_prefix            = "${var.name}-"
  image_id               = var.ami_id
  instance_type          = var.instance_type
  user_data              = base64encode(local.user_data)
  vpc_security_group_ids = [aws_security_group.seeder.id]

  iam_instance_profile {
    arn = aws_iam_instance_profile.seeder.arn
  }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = var.name }
  }
}

# Of one: two would each hear of half of the builds. A machine that dies is replaced, and takes the volume.
resource "aws_autoscaling_group" "seeder" {
  name                = var.name
  min_size            = 1
  max_size            = 1
  desired_capacity    = 1
  vpc_zone_identifier = [var.subnet_id]
  health_check_type   = "EC2"

  launch_template {
    id      = aws_launch_template.seeder.id
    version = aws_launch_template.seeder.latest_version
  }

  instance_refresh {
    strategy = "Rolling"
    preferences {
      # The volume is free only when the machine before has gone.
      min_healthy_percentage = 0
    }
  }

  tag {
    key                 = "Name"
    value               = var.name
    propagate_at_launch = true
  }
}
