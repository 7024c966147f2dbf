output "pipeline_arn" {
  description = "The pipeline."
  value       = aws_codepipeline.builds.arn
}

output "artifact_bucket" {
  description = "Where artifacts and builds on their way are."
  value       = aws_s3_bucket.artifacts.id
}

output "artifact_kms_key_arn" {
  description = "The key that they are encrypted with."
  value       = aws_kms_key.artifacts.arn
}

output "approval_topic_arn" {
  description = "The topic that hears of builds which wait for approval. Subscribe to it, or set approval_emails."
  value       = aws_sns_topic.approvals.arn
}
