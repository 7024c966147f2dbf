# One provider block for AWS and for a local stack. On AWS endpoint_url is null and everything below is the default: the
# standard environment says who and where.
provider "aws" {
  region = var.aws_region

  access_key                  = local.on_aws ? null : "test"
  secret_key                  = local.on_aws ? null : "test"
  skip_credentials_validation = !local.on_aws
  skip_metadata_api_check     = !local.on_aws
  s3_use_path_style           = !local.on_aws

  dynamic "endpoints" {
    for_each = local.on_aws ? [] : [var.endpoint_url]

    content {
      apigateway = endpoints.value
      cloudwatch = endpoints.value
      dynamodb   = endpoints.value
      iam        = endpoints.value
      kms        = endpoints.value
      lambda     = endpoints.value
      logs       = endpoints.value
      s3         = endpoints.value
      sfn        = endpoints.value
      sns        = endpoints.value
      sqs        = endpoints.value
      sts        = endpoints.value
    }
  }

  default_tags {
    tags = {
      Application = "fleetcast"
      ManagedBy   = "terraform"
      Stage       = local.stage
    }
  }
}

locals {
  on_aws = var.endpoint_url == null
}
