//! `step-function-invoker`: `POST /deploy` starts the replication of a build, of the newest where none is named;
//! `POST /step-function` starts the workflow with an input that is given whole.

use std::time::{SystemTime, UNIX_EPOCH};

use cloud::{Cloud, CloudError};
use pipeline::{PipelineClients, Started};
use serde_json::{Map, Value, json};

use crate::http::{self, BadRequest};
use crate::{Failure, configuration, workflow_input};

/// Answers 202 with the execution, or 400 with all that is wrong.
///
/// # Errors
/// Where the cloud fails: API Gateway then answers 502.
pub async fn handle(cloud: Cloud, event: Value) -> Result<Value, Failure> {
    let fields = match http::body(&event) {
        Ok(fields) => fields,
        Err(bad) => return Ok(http::refuse(&bad)),
    };
    let input = if http::path(&event).ends_with("/deploy") {
        deploy(&cloud, &fields).await?
    } else {
        workflow_input::check(&fields)
    };
    let input = match input {
        Ok(input) => input,
        Err(bad) => return Ok(http::refuse(&bad)),
    };
    let state_machine = configuration::text("STATE_MACHINE_ARN")?;
    let key = input["sourceKey"].as_str().unwrap_or_default();
    // Asked for by a person: each time anew.
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let name = format!("posted-{}-{nanos:x}", workflow_input::readable(key, 40));
    match cloud.workflow().start(&state_machine, &name, &input).await? {
        Started::New { arn } => {
            tracing::info!(build = key, execution = arn, "started");
            Ok(http::answer(202, &json!({"executionArn": arn, "buildId": key})))
        }
        Started::Already => Err(format!("execution {name} is there already").into()),
    }
}

/// The input for a build that is named, or for the newest.
async fn deploy(cloud: &Cloud, fields: &Map<String, Value>) -> Result<Result<Value, BadRequest>, Failure> {
    if let Err(bad) = http::expect_only(fields, &["buildId"]) {
        return Ok(Err(bad));
    }
    let bucket = configuration::text("GLOBAL_BUCKET")?;
    let destinations = configuration::list("DESTINATION_BUCKETS")?;
    let key = match fields.get("buildId") {
        None | Some(Value::Null) => match cloud.buckets().newest(&bucket).await? {
            Some(key) => key,
            None => {
                return Ok(Err(BadRequest(format!(
                    "bucket {bucket} has no builds; upload one first"
                ))));
            }
        },
        Some(Value::String(key)) if !key.is_empty() && key.len() <= 1024 => key.clone(),
        Some(_) => {
            return Ok(Err(BadRequest(
                "buildId — expected the key of a build, such as \"build-123.zip\"".to_owned(),
            )));
        }
    };
    match cloud.buckets().head(&bucket, &key).await {
        Ok(_) => {}
        Err(CloudError::ObjectMissing { .. }) => {
            return Ok(Err(BadRequest(format!(
                "buildId — there is no {key:?} in bucket {bucket}"
            ))));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Ok(
        json!({"sourceBucket": bucket, "sourceKey": key, "destinationBuckets": destinations}),
    ))
}
