//! `replication-worker`: a build in the global bucket starts the workflow that copies it to the regions.

use cloud::{Cloud, objects_created};
use pipeline::{PipelineClients, Started};
use serde_json::{Value, json};

use crate::{Failure, configuration, workflow_input};

/// Starts an execution for each object that the event tells of. S3 tells at least once: an execution's name is made of
/// bucket, key and version, so a second telling starts nothing.
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
        let name = workflow_input::execution_name(&object);
        let input = workflow_input::of_object(&object, &buckets);
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
