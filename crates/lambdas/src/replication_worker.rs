//! `replication-worker`: a build in the global bucket starts the workflow that copies it to the regions.

use cloud::{Cloud, ObjectCreated, check_key, objects_created};
use pipeline::{PipelineClients, Started};
use serde_json::{Value, json};

use crate::{Failure, configuration, workflow_input};

/// Starts an execution for each object that the event tells of. S3 tells at least once: an execution's name is made of
/// bucket, key and version, so a second telling starts nothing. What can be no build is started too, with the reason: so it has
/// one row and one message, and is copied nowhere. A copy in a region's bucket starts nothing, whatever the buckets are called.
///
/// # Errors
/// Where the event is none of S3, or the workflow cannot be started.
pub async fn handle(cloud: Cloud, event: Value) -> Result<Value, Failure> {
    let (state_machine, buckets) = (
        configuration::text("STATE_MACHINE_ARN")?,
        configuration::list("DESTINATION_BUCKETS")?,
    );
    let mut executions = Vec::new();
    for object in objects_created(&event)? {
        if buckets.contains(&object.bucket) {
            tracing::warn!(build = object.key, bucket = object.bucket, "a copy starts nothing");
            continue;
        }
        let name = workflow_input::execution_name(&object);
        let mut input = workflow_input::of_object(&object, &buckets);
        if let Some(why) = refusal(&object) {
            tracing::warn!(build = object.key, why, "refused");
            input["refused"] = why.into();
        }
        let started = cloud.workflow().start(&state_machine, &name, &input).await?;
        tracing::info!(
            build = object.key,
            execution = name,
            new = started != Started::Already,
            "replicating"
        );
        executions.push(json!({"name": name, "new": started != Started::Already}));
    }
    Ok(json!({"executions": executions}))
}

/// Why an object can be no build.
fn refusal(object: &ObjectCreated) -> Option<String> {
    if let Err(problem) = check_key(&object.key) {
        return Some(problem.to_string());
    }
    (object.size == Some(0)).then(|| "the object is empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_empty_objects_are_no_builds() {
        let object = |key: &str, size| ObjectCreated {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            size,
            version: "v".to_owned(),
            version_id: None,
            sequencer: None,
        };
        assert_eq!(refusal(&object("dir/my build+1.zip", Some(3))), None);
        assert_eq!(refusal(&object("a.zip", None)), None);
        for (key, size, message) in [("folder/", 0, "folder"), ("a.zip", 0, "empty"), ("../a.zip", 3, "..")] {
            let why = refusal(&object(key, Some(size))).unwrap();
            assert!(why.contains(message), "{why}");
        }
    }
}
