# A local stack: terraform apply -var-file=local.tfvars
stage                 = ""
endpoint_url          = "http://127.0.0.1:4566"
lambda_architecture   = "x86_64"
api_authorization     = "NONE"
lambda_package_folder = "../target/lambda-local"
