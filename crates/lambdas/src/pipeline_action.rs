//! `pipeline-action`: a job of CodePipeline hands the whole deploy to the workflow.
//!
//! The first time it reads the workflow's input from an object in S3, which is JSON or, as CodePipeline's own artifacts are, a zip with a
//! file of JSON, and starts an execution; each later time, told by the continuation token, it looks how that stands, until it can report
//! success or failure. An artifact is read with the credentials that the job has for it: so the function's own role needs neither the bucket of
//! artifacts nor their key.

use std::future::Future;

use cloud::{Cloud, Credentials, ObjectCreated};
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
    /// Who may read the input, where it is an artifact of the job.
    pub session: Option<Credentials>,
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
    let named_by_parameters = named(&parameters, "bucket", "key");
    // What parameters name is no artifact, and nothing of the job's is sent there.
    let artifact_is_input = named_by_parameters.is_none();
    let input =
        named_by_parameters.or_else(|| artifact.and_then(|location| named(location, "bucketName", "objectKey")));
    Ok(Job {
        id: id.to_owned(),
        continuation_token: text("/data/continuationToken").map(str::to_owned),
        session: artifact_is_input.then(|| session(job)).flatten(),
        input,
        file: parameters["file"].as_str().map(str::to_owned),
        encryption_key: text("/data/encryptionKey/id").map(str::to_owned),
    })
}

/// The credentials that CodePipeline gives a job for its artifacts, for as long as it takes.
fn session(job: &Value) -> Option<Credentials> {
    let credentials = job.pointer("/data/artifactCredentials")?;
    let text = |name: &str| {
        let text = credentials.get(name)?.as_str().filter(|text| !text.is_empty())?;
        Some(text.to_owned())
    };
    Some(Credentials {
        access_key_id: text("accessKeyId")?,
        secret_access_key: text("secretAccessKey")?,
        session_token: Some(text("sessionToken")?),
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
    let bytes = match read_input(cloud, (bucket, key), job).await {
        Err(failure) if failure.kind() == "Refused" => return Err(hinted(&failure, job)),
        read => read?,
    };
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("{key} in bucket {bucket} is not a JSON object: {error}")))?;
    let input = workflow_input::check(&fields).map_err(|bad| wrong(format!("{key} in bucket {bucket}: {bad}")))?;
    if let Some(version) = input["sourceVersionId"].as_str() {
        // The event of an upload begins the copies to all regions. They are followed, and made again only where they have failed. Where they have
        // yet to begin they are left to the event: what this job begins may be for some regions only, and has a name of its own.
        let name = workflow_input::execution_name(&ObjectCreated {
            bucket: text_of(&input, "sourceBucket"),
            key: text_of(&input, "sourceKey"),
            size: None,
            version: version.to_owned(),
            version_id: Some(version.to_owned()),
            sequencer: None,
        });
        let arn = execution_arn(state_machine, &name);
        if cloud.workflow().describe_if_there(&arn).await?.is_some() {
            match look(cloud, &arn).await {
                Err(failure) if failure.kind() == "ExecutionFailed" => {
                    tracing::warn!(job = job.id, %failure, "it is done again");
                }
                looked => return looked,
            }
        }
    }
    let name = format!("pipeline-{}", workflow_input::readable(&job.id, 60));
    Ok(Progress::Going(started(cloud, state_machine, &name, &input).await?))
}

/// The execution of this name, which is there already where the job is invoked twice.
async fn started(cloud: &Cloud, state_machine: &str, name: &str, input: &Value) -> Result<String, Failure> {
    let build = input["sourceKey"].as_str();
    match cloud.workflow().start(state_machine, name, input).await? {
        Started::New { arn } => {
            tracing::info!(execution = arn, build, "started");
            Ok(arn)
        }
        Started::Already => Ok(execution_arn(state_machine, name)),
    }
}

fn execution_arn(state_machine: &str, name: &str) -> String {
    let executions = state_machine.replacen(":stateMachine:", ":execution:", 1);
    format!("{executions}:{name}")
}

fn text_of(input: &Value, name: &str) -> String {
    input[name].as_str().unwrap_or_default().to_owned()
}

/// The workflow's input as JSON.
async fn read_input(cloud: &Cloud, (bucket, key): (&str, &str), job: &Job) -> Result<Vec<u8>, Failure> {
    let buckets = match &job.session {
        Some(session) => cloud.buckets().asked_by(session),
        None => cloud.buckets(),
    };
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
        let unpacked = artifact::file(&bytes, job.file.as_deref(), INPUT_MAX);
        return unpacked.map_err(|why| wrong(format!("{key} in bucket {bucket}: {why}")));
    }
    if object.size > INPUT_MAX {
        return Err(too_long(INPUT_MAX));
    }
    Ok(bytes.into())
}

/// Whoever may read a bucket and not use its key is told the same by S3.
fn hinted(failure: &Failure, job: &Job) -> Failure {
    let of_key = match (&job.encryption_key, &job.session) {
        (_, Some(_)) => {
            "; the job's own credentials may not read it: may the pipeline's role, and use the key of artifacts?"
                .to_owned()
        }
        (Some(key), None) => format!(
            "; artifacts are encrypted with {key}: is it pipeline_artifact_kms_key_arn, and does its policy let this role decrypt?"
        ),
        (None, None) => "; is its bucket pipeline_artifact_bucket?".to_owned(),
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
        let credentials = json!({"accessKeyId": "ASIA1", "secretAccessKey": "hush", "sessionToken": "token"});
        let with = |parameters: &str| {
            read(
                &json!({"CodePipeline.job": {"id": "j", "data": {"artifactCredentials": credentials,
                "actionConfiguration": {"configuration": {"UserParameters": parameters}},
                "inputArtifacts": [{"location": {"s3Location": {"bucketName": "c", "objectKey": "l"}}}]}}}),
            )
            .unwrap()
        };
        let job = with("{}");
        assert_eq!(job.session.as_ref().unwrap().access_key_id, "ASIA1");
        assert!(
            !format!("{job:?}").contains("hush") && !format!("{job:?}").contains("token\""),
            "{job:?}"
        );
        // What somebody names is read as who the function is.
        assert_eq!(with("{\"bucket\": \"b\", \"key\": \"k\"}").session, None);
        assert!(read(&json!({"x": 1})).is_err() && read(&json!({"CodePipeline.job": {}})).is_err());
    }
}
