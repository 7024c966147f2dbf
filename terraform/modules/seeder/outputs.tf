output "parameter_name" {
  description = "The parameter of SSM with the directory's address: for module host."
  value       = aws_ssm_parameter.directory.name
}

output "parameter_arn" {
  description = "Its ARN, likewise."
  value       = aws_ssm_parameter.directory.arn
}

output "security_group_id" {
  description = "The seeder's security group: hosts let it out to port 4001 of it."
  value       = aws_security_group.seeder.id
}

output "role_name" {
  description = "The seeder's role."
  value       = aws_iam_role.seeder.name
}
