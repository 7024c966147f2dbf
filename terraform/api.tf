# A REST API (v1): the official module makes HTTP APIs (v2), which the free LocalStack does not have.
locals {
  # POST on each of these paths invokes that function.
  routes = {
    "builds"        = "build-worker"
    "deploy"        = "step-function-invoker"
    "step-function" = "step-function-invoker"
  }
}

resource "aws_api_gateway_rest_api" "api" {
  name        = local.api
  description = "Posts builds and starts their replication"

  endpoint_configuration {
    types = ["REGIONAL"]
  }
}

resource "aws_api_gateway_resource" "route" {
  for_each = local.routes

  rest_api_id = aws_api_gateway_rest_api.api.id
  parent_id   = aws_api_gateway_rest_api.api.root_resource_id
  path_part   = each.key
}

resource "aws_api_gateway_method" "post" {
  for_each = local.routes

  rest_api_id   = aws_api_gateway_rest_api.api.id
  resource_id   = aws_api_gateway_resource.route[each.key].id
  http_method   = "POST"
  authorization = var.api_authorization
}

resource "aws_api_gateway_integration" "function" {
  for_each = local.routes

  rest_api_id             = aws_api_gateway_rest_api.api.id
  resource_id             = aws_api_gateway_resource.route[each.key].id
  http_method             = aws_api_gateway_method.post[each.key].http_method
  type                    = "AWS_PROXY"
  integration_http_method = "POST"
  uri                     = module.function[each.value].lambda_function_invoke_arn
}

resource "aws_lambda_permission" "api" {
  for_each = local.routes

  function_name = module.function[each.value].lambda_function_name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_api_gateway_rest_api.api.execution_arn}/*/POST/${each.key}"
}

resource "aws_api_gateway_deployment" "api" {
  rest_api_id = aws_api_gateway_rest_api.api.id

  # A deployment is a snapshot: a change of the routes needs another one. By values of ours: a whole resource is another one after
  # each refresh.
  triggers = {
    routes = sha1(jsonencode([
      for path, function in local.routes : [
        path,
        function,
        aws_api_gateway_resource.route[path].id,
        aws_api_gateway_method.post[path].authorization,
        aws_api_gateway_integration.function[path].uri,
      ]
    ]))
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_stage" "api" {
  rest_api_id   = aws_api_gateway_rest_api.api.id
  deployment_id = aws_api_gateway_deployment.api.id
  stage_name    = local.api_stage
}

# A person posts builds, not a crowd: what is beyond this is a mistake or an attack, and each request costs.
resource "aws_api_gateway_method_settings" "throttle" {
  rest_api_id = aws_api_gateway_rest_api.api.id
  stage_name  = aws_api_gateway_stage.api.stage_name
  method_path = "*/*"

  settings {
    throttling_rate_limit  = 20
    throttling_burst_limit = 50
  }
}
