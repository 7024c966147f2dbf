//! `regional-sync`: a build in a regional bucket is told to the region's seeder by its queue.

use cloud::{Cloud, objects_created};
use pipeline::PipelineClients;
use serde_json::{Value, json};

use crate::{Failure, configuration};

/// Sends a message for each object that the event tells of to the queue of its bucket.
///
/// # Errors
/// Where the event is none of S3, is of a bucket without a queue, or the queue does not take it.
pub async fn handle(cloud: Cloud, event: Value) -> Result<Value, Failure> {
    let urls = configuration::map("QUEUE_URLS")?;
    let mut sent = 0;
    for object in objects_created(&event)? {
        let Some(url) = urls.get(&object.bucket) else {
            let known: Vec<&String> = urls.keys().collect();
            return Err(format!("bucket {} has no queue; expected one of {known:?}", object.bucket).into());
        };
        let message = json!({
            "bucket": object.bucket,
            "key": object.key,
            "size": object.size,
            "version": object.version,
        });
        cloud
            .queues()
            .at(&object.bucket, url)
            .send(&message.to_string())
            .await?;
        tracing::info!(build = object.key, bucket = object.bucket, "the seeder is told");
        sent += 1;
    }
    Ok(json!({"sent": sent}))
}
