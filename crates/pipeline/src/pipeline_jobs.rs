//! How a job of CodePipeline is told what came of it.

use aws_sdk_codepipeline::Client;
use aws_sdk_codepipeline::types::{FailureDetails, FailureType};

use cloud::{Backoff, CloudError, fnv1a};

/// The jobs of a cloud.
#[derive(Clone, Debug)]
pub struct PipelineJobs {
    client: Client,
}

impl PipelineJobs {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The job goes well: it is done, or with a token it is asked again later.
    pub async fn succeed(&self, job: &str, continuation_token: Option<&str>) -> Result<(), CloudError> {
        let put = || async {
            let request = self.client.put_job_success_result().job_id(job);
            let sent = request
                .set_continuation_token(continuation_token.map(str::to_owned))
                .send()
                .await;
            sent.map_err(|error| CloudError::service(format!("report success of job {job}"), &error))
        };
        Backoff::READ.seeded(fnv1a(job).into()).run(put).await.map(|_| ())
    }

    /// The job has failed, of this kind (see [`CloudError::kind`]). `execution` is where to look.
    pub async fn fail(&self, job: &str, kind: &str, message: &str, execution: Option<&str>) -> Result<(), CloudError> {
        let details = FailureDetails::builder()
            .r#type(type_of(kind))
            .message(message.chars().take(MESSAGE_MAX).collect::<String>())
            .set_external_execution_id(execution.map(str::to_owned))
            .build()
            .map_err(|error| CloudError::Invalid {
                action: format!("report failure of job {job}"),
                message: error.to_string(),
            })?;
        let put = || async {
            let request = self.client.put_job_failure_result().job_id(job);
            let sent = request.failure_details(details.clone()).send().await;
            sent.map_err(|error| CloudError::service(format!("report failure of job {job}"), &error))
        };
        Backoff::READ.seeded(fnv1a(job).into()).run(put).await.map(|_| ())
    }
}

/// What CodePipeline calls a kind of failure.
fn type_of(kind: &str) -> FailureType {
    match kind {
        "Configuration" | "InvalidEvent" | "Invalid" => FailureType::ConfigurationError,
        "ObjectMissing" | "BucketMissing" | "ObjectChanged" => FailureType::RevisionUnavailable,
        "Refused" => FailureType::PermissionError,
        "Unavailable" => FailureType::SystemUnavailable,
        _ => FailureType::JobFailed,
    }
}

/// Characters of a message that CodePipeline takes.
const MESSAGE_MAX: usize = 5000;
