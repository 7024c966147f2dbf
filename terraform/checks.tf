# What no validation of one variable sees. A plan that would break off in the middle of its apply, or take another stage's place,
# fails here.
resource "terraform_data" "stage_of_this_state" {
  input = local.stage

  lifecycle {
    # It stays what it was when it was made.
    ignore_changes = [input]
  }
}

resource "terraform_data" "checks" {
  lifecycle {
    precondition {
      condition     = terraform_data.stage_of_this_state.output == local.stage
      error_message = "This state is that of stage ${terraform_data.stage_of_this_state.output}, and would be replaced by ${local.stage}. Each stage has a state of its own: `terraform workspace select -or-create ${local.stage}`."
    }

    precondition {
      condition     = var.stage != "" || !local.on_aws
      error_message = "Expected a stage: names without one are for local stacks."
    }

    precondition {
      condition     = alltrue([for bucket in concat([local.global_bucket], values(local.regional_buckets)) : length(bucket) <= 63])
      error_message = "A bucket's name would be longer than the 63 characters that S3 takes: ${join(", ", [for bucket in values(local.regional_buckets) : bucket if length(bucket) > 63])}. Expected a shorter stage or region."
    }

    precondition {
      condition     = length(local.destination_buckets) <= 3500
      error_message = "The names of all regional buckets have ${length(local.destination_buckets)} characters. Expected at most 3,500, since AWS takes 4 KB for the environment of a function: fewer regions, or shorter names."
    }

    precondition {
      condition     = alltrue([for queue in values(local.region_dead_letter_queues) : length(queue) <= 80])
      error_message = "A queue's name would be longer than the 80 characters that SQS takes. Expected a shorter stage or region."
    }
  }
}
