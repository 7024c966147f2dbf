//! `regional-sync`: a build in a regional bucket is told to the region's seeder by its queue. One in each AWS region that has
//! buckets, since a bucket calls functions of its own region only.

use cloud::{BUILD_SUFFIXES, Cloud, is_build, objects_created, queue_of_bucket};
use pipeline::PipelineClients;
use serde_json::{Value, json};

use crate::{Failure, configuration};

/// Sends a message for each build that the event tells of to the queue of its bucket. What only belongs to a build, such as its
/// checksum or signature, is there for whoever wants it, and no seeder is told.
///
/// # Errors
/// Where the event is none of S3, is of a bucket without a queue, or the queue does not take it.
pub async fn handle(cloud: Cloud, event: Value) -> Result<Value, Failure> {
    let stage = configuration::optional("STAGE").unwrap_or_default();
    let suffixes = configuration::optional("BUILD_SUFFIXES").unwrap_or_else(|| BUILD_SUFFIXES.to_owned());
    let mut sent = 0;
    for object in objects_created(&event)? {
        let Some(queue) = queue_of_bucket(&object.bucket, &stage) else {
            return Err(Failure::invalid(format!(
                "bucket {} is that of no region of stage {stage:?}; expected <region>-builds and the stage",
                object.bucket
            )));
        };
        if !is_build(&object.key, &suffixes) {
            tracing::info!(key = object.key, bucket = object.bucket, "no build: no seeder is told");
            continue;
        }
        let message = json!({
            "bucket": object.bucket,
            "key": object.key,
            "size": object.size,
            "version": object.version,
            "sequencer": object.sequencer,
        });
        let queue = cloud.queues().named(&queue).await?;
        queue.send(&message.to_string()).await?;
        tracing::info!(build = object.key, bucket = object.bucket, "the seeder is told");
        sent += 1;
    }
    Ok(json!({"sent": sent}))
}
