//! The clients of the pipeline: Step Functions, SQS, SNS, Lambda, API Gateway and CodePipeline.
//!
//! They stand apart from `cloud`, which has what every run needs, because they take longer to compile than all of it and only the
//! commands of the pipeline call them. No AWS type leaves this crate.

mod dead_letters;
mod inspection;
mod notifications;
mod pipeline_jobs;
mod provision;
mod queues;
mod rest_api;
mod workflow;

use cloud::Cloud;

pub use dead_letters::{DeadLetter, DeadLetterQueue, NamedDeadLetters};
pub use inspection::{Inspection, PartState};
pub use pipeline_jobs::PipelineJobs;
pub use provision::{Pipeline, ProvisionError, Provisioned};
pub use queues::{Queue, QueueMessage, Queues};
pub use workflow::{Execution, Started, Workflow};

/// What a [`Cloud`] has besides buckets and tables. Making one sends nothing yet.
pub trait PipelineClients {
    /// Executions of the workflow.
    fn workflow(&self) -> Workflow;
    /// Queues.
    fn queues(&self) -> Queues;
    /// Jobs of CodePipeline.
    fn pipeline_jobs(&self) -> PipelineJobs;
}

impl PipelineClients for Cloud {
    fn workflow(&self) -> Workflow {
        Workflow::new(aws_sdk_sfn::Client::new(self.shared()))
    }

    fn queues(&self) -> Queues {
        Queues::new(aws_sdk_sqs::Client::new(self.shared()))
    }

    fn pipeline_jobs(&self) -> PipelineJobs {
        PipelineJobs::new(aws_sdk_codepipeline::Client::new(self.shared()))
    }
}
