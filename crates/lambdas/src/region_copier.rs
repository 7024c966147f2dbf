//! `region-copier`: the workflow's copy of one build to one bucket, in whichever AWS region that is.
//!
//! Step Functions calls the services of its own region only, and S3 copies where the destination is. This function asks S3 there:
//! no byte of a build passes through it. What no other attempt can help is its answer, and what may go well the next time is its
//! failure, which the workflow tries again.

use cloud::{Cloud, CloudError, CopyLimits, Landed};
use program::chain;
use serde_json::{Value, json};
use signing::Signature;

use crate::Failure;

/// What is to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    source_bucket: String,
    key: String,
    version_id: Option<String>,
    bucket: String,
    limits: CopyLimits,
}

/// Copies, and answers with what became of it: `SUCCEEDED`, `SUPERSEDED` or `FAILED`.
///
/// # Errors
/// Where the task makes no sense, or another attempt may go well.
pub async fn handle(cloud: Cloud, event: Value) -> Result<Value, Failure> {
    let task = read(&event)?;
    let bucket = &task.bucket;
    match copy(&cloud, &task).await {
        Ok(Landed::Copied {
            version,
            bytes,
            parts,
            signature,
        }) => {
            tracing::info!(build = task.key, bucket, version, bytes, parts, "copied");
            let mut answer =
                json!({"bucket": bucket, "status": "SUCCEEDED", "bytes": bytes, "parts": parts, "version": version});
            if let Some(root) = signature.as_deref().and_then(root_of) {
                answer["root"] = root.into();
            }
            Ok(answer)
        }
        Ok(Landed::Superseded { by }) => {
            tracing::info!(build = task.key, bucket, by, "a newer version is on its way");
            Ok(json!({"bucket": bucket, "status": "SUPERSEDED", "by": by}))
        }
        Err(error) if error.is_retryable() => Err(error.into()),
        Err(error) => {
            tracing::error!(build = task.key, bucket, error = chain(&error), "not copied");
            let cause: String = chain(&error).chars().take(CAUSE_MAX).collect();
            Ok(json!({"bucket": bucket, "status": "FAILED", "error": error.kind(), "cause": cause}))
        }
    }
}

async fn copy(cloud: &Cloud, task: &Task) -> Result<Landed, CloudError> {
    let source = cloud.buckets();
    let there = match source.region_of(&task.bucket).await? {
        Some(region) => source.in_region(&region),
        None => source.clone(),
    };
    let from = (task.source_bucket.as_str(), task.key.as_str());
    let copied = source.copy_version(from, task.version_id.as_deref(), &there, &task.bucket, task.limits);
    copied.await
}

/// The root of the manifest that a signature is of. Who has signed, and whether that is true, is for seeders and hosts to find out, who
/// have the keys and the bytes.
fn root_of(signature: &str) -> Option<String> {
    let signature: Signature = signature.parse().ok()?;
    Some(signature.root().to_string())
}

fn read(event: &Value) -> Result<Task, Failure> {
    let text = |name: &str| {
        let text = event.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    let required =
        |name: &str| text(name).ok_or_else(|| Failure::invalid(format!("{name} — missing; expected a text")));
    let bytes = |name: &str, otherwise: u64| {
        let given = event.get(name).and_then(Value::as_u64);
        given.filter(|given| *given > 0).unwrap_or(otherwise)
    };
    let limits = CopyLimits::default();
    Ok(Task {
        source_bucket: required("sourceBucket")?,
        key: required("sourceKey")?,
        version_id: text("sourceVersionId"),
        bucket: required("bucket")?,
        limits: CopyLimits {
            single_bytes_max: bytes("singleCopyBytesMax", limits.single_bytes_max),
            part_bytes: bytes("partBytes", limits.part_bytes),
        },
    })
}

/// Characters of a cause: a hundred of them are in one message of the workflow.
const CAUSE_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_names_source_and_destination_and_the_rest_has_defaults() {
        let task =
            read(&json!({"sourceBucket": "a", "sourceKey": "k", "bucket": "b", "sourceVersionId": "v"})).unwrap();
        assert_eq!(
            (task.version_id.as_deref(), task.limits),
            (Some("v"), CopyLimits::default())
        );
        for missing in ["sourceBucket", "sourceKey", "bucket"] {
            let mut event = json!({"sourceBucket": "a", "sourceKey": "k", "bucket": "b"});
            event[missing] = Value::Null;
            let failure = read(&event).unwrap_err();
            assert_eq!(failure.kind(), "InvalidEvent");
            assert!(failure.to_string().contains(missing), "{failure}");
        }
    }
}
