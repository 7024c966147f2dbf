//! `regional-sync`: a build in a regional bucket is told to each seeder of the region, by the seeder's own queue: a queue gives a message to
//! one listener. One function in each AWS region that has buckets, since a bucket calls functions of its own region only.

use cloud::{BUILD_SUFFIXES, Cloud, CloudError, SEEDERS_MAX, is_build, objects_created, queues_of_bucket};
use pipeline::PipelineClients;
use serde_json::{Value, json};

use crate::{Failure, configuration};

/// Sends a message for each build that the event tells of to each queue of its bucket. One that does not take it keeps it from no other, and
/// has the event come again: then all are told again, which does no harm. What only belongs to a build, such as its
/// checksum or signature, is there for whoever wants it, and no seeder is told.
///
/// # Errors
/// Where the event is none of S3, is of a bucket without a queue, or the queue does not take it.
pub async fn handle(cloud: Cloud, event: Value) -> Result<Value, Failure> {
    let stage = configuration::optional("STAGE").unwrap_or_default();
    let suffixes = configuration::optional("BUILD_SUFFIXES").unwrap_or_else(|| BUILD_SUFFIXES.to_owned());
    let seeders = configuration::number("SEEDERS_PER_REGION", 1, 1..=SEEDERS_MAX)?;
    let mut sent = 0;
    for object in objects_created(&event)? {
        let Some(queues) = queues_of_bucket(&object.bucket, &stage, seeders) else {
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
        let mut failed = None;
        for queue in queues {
            match tell(&cloud, &queue, &message.to_string()).await {
                Ok(()) => {
                    tracing::info!(build = object.key, bucket = object.bucket, queue, "a seeder is told");
                    sent += 1;
                }
                Err(error) => {
                    tracing::error!(build = object.key, bucket = object.bucket, queue, %error, "a seeder is not told");
                    failed = failed.or(Some(error));
                }
            }
        }
        failed.map_or(Ok(()), Err)?;
    }
    Ok(json!({"sent": sent}))
}

async fn tell(cloud: &Cloud, queue: &str, message: &str) -> Result<(), CloudError> {
    cloud.queues().named(queue).await?.send(message).await
}
