//! `pipeline-action`: a job of CodePipeline hands the whole deploy to the workflow.
//!
//! The first time it reads the workflow's input from an object in S3, which is JSON or, as CodePipeline's own artifacts are, a zip with a
//! file of JSON, and starts an execution; each later time, told by the continuation token, it looks how that stands, until it can report
//! success or failure.

use std::future::Future;

use cloud::Cloud;
use pipeline::{Execution, PipelineClients, PipelineJobs, Started};
use serde_json::{Value, json};

use crate::http::BadRequest;
use crate::{Failure, artifact, configuration, workflow_input};

/// A job, as CodePipeline describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The execution that an earlier invocation started.
    pub continuation_token: Option<String>,
    /// Bucket and key of the workflow's input.
    pub input: Option<(String, String)>,
    /// Its file in a zip, where that is said.
    pub file: Option<String>,
    /// The customer's key of KMS that artifacts are encrypted with.
    pub encryption_key: Option<String>,
}

/// Where jobs are reported: CodePipeline, or a test.
pub trait Reports {
    /// Goes well; with a token it is asked again.
    fn succeed(&self, job: &str, token: Option<&str>) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Has failed, of this kind (see [`Failure::kind`]).
    fn fail(
        &self,
        job: &str,
        kind: &str,
        message: &str,
        execution: Option<&str>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

impl Reports for PipelineJobs {
    async fn succeed(&self, job: &str, token: Option<&str>) -> Result<(), Failure> {
        Ok(Self::succeed(self, job, token).await?)
    }

    async fn fail(&self, job: &str, kind: &str, message: &str, execution: Option<&str>) -> Result<(), Failure> {
        Ok(Self::fail(self, job, kind, message, execution).await?)
    }
}

/// Handles an invocation, and reports to CodePipeline.
///
/// # Errors
/// Where the event is no job, or CodePipeline does not take the report.
pub async fn handle(cloud: Cloud, event: Value) -> Result<Value, Failure> {
    let reports = cloud.pipeline_jobs();
    let state_machine = configuration::text("STATE_MACHINE_ARN")?;
    handle_job(&cloud, &event, &state_machine, &reports).await
}

/// [`handle`] for this state machine, with other reports.
///
/// # Errors
/// Likewise.
pub async fn handle_job(
    cloud: &Cloud,
    event: &Value,
    state_machine: &str,
    reports: &impl Reports,
) -> Result<Value, Failure> {
    let job = read(event)?;
    let went = match &job.continuation_token {
        Some(arn) => look(cloud, arn).await,
        None => start(cloud, state_machine, &job).await,
    };
    match went {
        Ok(Progress::Done(arn)) => {
            reports.succeed(&job.id, None).await?;
            Ok(json!({"job": job.id, "execution": arn, "done": true}))
        }
        Ok(Progress::Going(arn)) => {
            reports.succeed(&job.id, Some(&arn)).await?;
            Ok(json!({"job": job.id, "execution": arn, "done": false}))
        }
        // Nothing was begun yet: Lambda hands the job over again.
        Err(error) if error.kind() == "Unavailable" => Err(error),
        Err(error) => {
            let message = error.to_string();
            tracing::error!(job = job.id, error = message, "the job has failed");
            reports
                .fail(&job.id, error.kind(), &message, job.continuation_token.as_deref())
                .await?;
            Ok(json!({"job": job.id, "failed": message}))
        }
    }
}

/// Reads a job.
///
/// # Errors
/// Where the event has none.
pub fn read(event: &Value) -> Result<Job, BadRequest> {
    let job = event.get("CodePipeline.job");
    let job = job.ok_or_else(|| BadRequest("not a job of CodePipeline; expected CodePipeline.job".to_owned()))?;
    let text = |pointer: &str| {
        job.pointer(pointer)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let id = text("/id").ok_or_else(|| BadRequest("the job has no id".to_owned()))?;
    let parameters: Value = text("/data/actionConfiguration/configuration/UserParameters")
        .and_then(|parameters| serde_json::from_str(parameters).ok())
        .unwrap_or_default();
    let named = |object: &Value, bucket: &str, key: &str| {
        let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        Some((text(bucket)?, text(key)?))
    };
    let artifact = job.pointer("/data/inputArtifacts/0/location/s3Location");
    let input = named(&parameters, "bucket", "key")
        .or_else(|| artifact.and_then(|location| named(location, "bucketName", "objectKey")));
    Ok(Job {
        id: id.to_owned(),
        continuation_token: text("/data/continuationToken").map(str::to_owned),
        input,
        file: parameters["file"].as_str().map(str::to_owned),
        encryption_key: text("/data/encryptionKey/id").map(str::to_owned),
    })
}

enum Progress {
    Going(String),
    Done(String),
}

async fn start(cloud: &Cloud, state_machine: &str, job: &Job) -> Result<Progress, Failure> {
    let Some((bucket, key)) = &job.input else {
        let expected = "{\"bucket\": …, \"key\": …} in UserParameters, or an input artifact";
        return Err(wrong(format!(
            "the job names no input of the workflow; expected {expected}"
        )));
    };
    let bytes = match read_input(cloud, (bucket, key), job.file.as_deref()).await {
        Err(failure) if failure.kind() == "Refused" => return Err(hinted(&failure, job)),
        read => read?,
    };
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("{key} in bucket {bucket} is not a JSON object: {error}")))?;
    let input = workflow_input::check(&fields).map_err(|bad| wrong(format!("{key} in bucket {bucket}: {bad}")))?;
    let name = format!("pipeline-{}", workflow_input::readable(&job.id, 60));
    match cloud.workflow().start(state_machine, &name, &input).await? {
        Started::New { arn } => {
            tracing::info!(
                job = job.id,
                execution = arn,
                build = input["sourceKey"].as_str(),
                "started"
            );
            Ok(Progress::Going(arn))
        }
        // The job was invoked twice: go on with what the first has started.
        Started::Already => Ok(Progress::Going(format!(
            "{}:{name}",
            state_machine.replacen(":stateMachine:", ":execution:", 1)
        ))),
    }
}

/// The workflow's input as JSON.
async fn read_input(cloud: &Cloud, (bucket, key): (&str, &str), file: Option<&str>) -> Result<Vec<u8>, Failure> {
    let buckets = cloud.buckets();
    let object = buckets.head(bucket, key).await?;
    let too_long = |max: u64| {
        let size = object.size;
        wrong(format!(
            "{key} in bucket {bucket} has {size} bytes; expected at most {max}"
        ))
    };
    if object.size > ARTIFACT_MAX {
        return Err(too_long(ARTIFACT_MAX));
    }
    let bytes = buckets.get_range(&object, 0..object.size).await?;
    if artifact::is_zip(&bytes) {
        let unpacked = artifact::file(&bytes, file, INPUT_MAX);
        return unpacked.map_err(|why| wrong(format!("{key} in bucket {bucket}: {why}")));
    }
    if object.size > INPUT_MAX {
        return Err(too_long(INPUT_MAX));
    }
    Ok(bytes.into())
}

/// Whoever may read a bucket and not use its key is told the same by S3.
fn hinted(failure: &Failure, job: &Job) -> Failure {
    let of_key = match &job.encryption_key {
        Some(key) => format!(
            "; artifacts are encrypted with {key}: is it pipeline_artifact_kms_key_arn, and does its policy let this role decrypt?"
        ),
        None => "; is its bucket pipeline_artifact_bucket?".to_owned(),
    };
    Failure::new("Refused", format!("{failure}{of_key}"))
}

fn wrong(message: String) -> Failure {
    Failure::new("Configuration", message)
}

async fn look(cloud: &Cloud, arn: &str) -> Result<Progress, Failure> {
    let described = cloud.workflow().describe(arn).await;
    let Execution { status, error, .. } = match described {
        // It goes on whether anybody can be asked how it stands or not: the job asks again.
        Err(error) if error.is_retryable() => {
            tracing::warn!(execution = arn, %error, "how it stands is not known");
            return Ok(Progress::Going(arn.to_owned()));
        }
        described => described?,
    };
    match status.as_str() {
        "SUCCEEDED" => Ok(Progress::Done(arn.to_owned())),
        "RUNNING" => Ok(Progress::Going(arn.to_owned())),
        other => {
            let (error, cause) = error.unwrap_or_else(|| (other.to_owned(), "no cause was told".to_owned()));
            let message = format!("execution {arn} has ended as {other}: {error}: {cause}");
            Err(Failure::new("ExecutionFailed", message))
        }
    }
}

/// Bytes of an input at most; Step Functions takes 256 KiB.
const INPUT_MAX: u64 = 256 << 10;
/// Bytes of an artifact at most: the function has 256 MiB. What is larger is a build, and no input.
const ARTIFACT_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_names_its_input_by_parameters_or_by_its_artifact() {
        let event = json!({"CodePipeline.job": {"id": "j", "data": {
            "actionConfiguration": {"configuration": {"UserParameters": "{\"bucket\": \"b\", \"key\": \"k\"}"}},
            "inputArtifacts": [{"location": {"s3Location": {"bucketName": "c", "objectKey": "l"}}}]}}});
        let job = read(&event).unwrap();
        assert_eq!(job.input, Some(("b".to_owned(), "k".to_owned())));
        let event = json!({"CodePipeline.job": {"id": "j", "data": {"continuationToken": "t",
            "inputArtifacts": [{"location": {"s3Location": {"bucketName": "c", "objectKey": "l"}}}]}}});
        let job = read(&event).unwrap();
        assert_eq!(job.input, Some(("c".to_owned(), "l".to_owned())));
        assert_eq!(job.continuation_token.as_deref(), Some("t"));
        let event = json!({"CodePipeline.job": {"id": "j", "data": {"encryptionKey": {"id": "arn:aws:kms:k", "type": "KMS"},
            "actionConfiguration": {"configuration": {"UserParameters": "{\"file\": \"x/prod.json\"}"}},
            "inputArtifacts": [{"location": {"s3Location": {"bucketName": "c", "objectKey": "l"}}}]}}});
        let job = read(&event).unwrap();
        assert_eq!(job.input, Some(("c".to_owned(), "l".to_owned())));
        assert_eq!(job.file.as_deref(), Some("x/prod.json"));
        let refused = hinted(&Failure::new("Refused", "no".to_owned()), &job).to_string();
        assert!(
            refused.contains("arn:aws:kms:k") && refused.contains("pipeline_artifact_kms_key_arn"),
            "{refused}"
        );
        assert!(read(&json!({"x": 1})).is_err() && read(&json!({"CodePipeline.job": {}})).is_err());
    }
}
