output "user_data" {
  description = "A shell script that makes a host of a machine of Debian or Ubuntu with the AWS CLI."
  value       = local.user_data
}

output "instance_profile_arn" {
  description = "The profile with which the machine is started."
  value       = aws_iam_instance_profile.host.arn
}

output "role_name" {
  description = "The hosts' role, for what else they may do."
  value       = aws_iam_role.host.name
}
