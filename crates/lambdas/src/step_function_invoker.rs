//! `step-function-invoker`: `POST /deploy` starts the replication of a build, of the newest where none is named, to all regions
//! or those that are named; `POST /step-function` starts the workflow with an input that is given whole, and so does whoever
//! invokes the function with that input and no request around it.

use std::time::{SystemTime, UNIX_EPOCH};

use cloud::{BUILD_SUFFIXES, Cloud, CloudError, region_of_bucket};
use pipeline::{PipelineClients, Started};
use serde_json::{Map, Value, json};

use crate::http::{self, BadRequest};
use crate::{Failure, configuration, workflow_input};

/// Answers 202 with the execution, or 400 with all that is wrong.
///
/// # Errors
/// Where the cloud fails: API Gateway then answers 502.
pub async fn handle(cloud: Cloud, event: Value) -> Result<Value, Failure> {
    let fields = match http::fields(&event) {
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
        Started::Already => Err(Failure::new(
            "AlreadyThere",
            format!("execution {name} is there already"),
        )),
    }
}

/// The input for a build that is named, or for the newest.
async fn deploy(cloud: &Cloud, fields: &Map<String, Value>) -> Result<Result<Value, BadRequest>, Failure> {
    if let Err(bad) = http::expect_only(fields, &["buildId", "regions"]) {
        return Ok(Err(bad));
    }
    let bucket = configuration::text("GLOBAL_BUCKET")?;
    let all = configuration::list("DESTINATION_BUCKETS")?;
    let suffixes = configuration::optional("BUILD_SUFFIXES").unwrap_or_else(|| BUILD_SUFFIXES.to_owned());
    let destinations = match chosen(fields.get("regions"), all) {
        Ok(destinations) => destinations,
        Err(bad) => return Ok(Err(bad)),
    };
    let key = match fields.get("buildId") {
        None | Some(Value::Null) => match cloud.buckets().newest(&bucket, &suffixes).await? {
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
    let object = match cloud.buckets().head_version(&bucket, &key, None).await {
        Ok(object) => object,
        Err(CloudError::ObjectMissing { .. }) => {
            return Ok(Err(BadRequest(format!(
                "buildId — there is no {key:?} in bucket {bucket}"
            ))));
        }
        Err(error) => return Err(error.into()),
    };
    let mut input = json!({"sourceBucket": bucket, "sourceKey": key, "destinationBuckets": destinations});
    if let Some(version) = object.version_id {
        input["sourceVersionId"] = version.into();
    }
    Ok(Ok(input))
}

/// The buckets of the regions that are named, or all.
fn chosen(regions: Option<&Value>, all: Vec<String>) -> Result<Vec<String>, BadRequest> {
    let stage = configuration::optional("STAGE").unwrap_or_default();
    let known: Vec<&str> = all
        .iter()
        .filter_map(|bucket| region_of_bucket(bucket, &stage))
        .collect();
    let expected = || BadRequest(format!("regions — expected a list of some of {}", known.join(", ")));
    let regions = match regions {
        None | Some(Value::Null) => return Ok(all),
        Some(Value::Array(regions)) if !regions.is_empty() => regions,
        Some(_) => return Err(expected()),
    };
    let names: Option<Vec<&str>> = regions.iter().map(Value::as_str).collect();
    let names = names.filter(|names| names.iter().all(|name| known.contains(name)));
    let names = names.ok_or_else(expected)?;
    let is_named = |bucket: &String| region_of_bucket(bucket, &stage).is_some_and(|region| names.contains(&region));
    Ok(all.iter().filter(|bucket| is_named(bucket)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deploy_goes_to_the_regions_that_are_named_or_to_all() {
        let all = || vec!["a-builds".to_owned(), "ab-builds".to_owned()];
        assert_eq!(chosen(None, all()).unwrap(), all());
        assert_eq!(chosen(Some(&json!(["a"])), all()).unwrap(), ["a-builds"]);
        for bad in [json!([]), json!("a"), json!(["b"]), json!([1])] {
            let error = chosen(Some(&bad), all()).unwrap_err().to_string();
            assert!(error.contains("a, ab"), "{error}");
        }
    }
}
