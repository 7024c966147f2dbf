//! Replication without a workflow engine: copies a build to the regional buckets and keeps its tracking row. What the
//! `file-copy-workflow` does in AWS, for the embedded cloud.

use std::time::Instant;

use futures::{StreamExt, stream};

use crate::clients::Cloud;
use crate::error::CloudError;
use crate::names::{GLOBAL_BUCKET, regional_bucket};
use crate::tracking_table::Tracking;

/// The copy to one region.
#[derive(Debug)]
pub struct RegionCopy {
    /// The region.
    pub region: String,
    /// When the build was complete in its bucket, or why it is not.
    pub result: Result<Instant, CloudError>,
}

/// Copies build `key` from the global bucket to those of `regions`; one that fails does not stop the others.
///
/// `root` is that of the manifest, where the build is signed.
///
/// # Errors
/// That of the tracking table; those of copies are in the results. Where a later execution has taken the row over, the
/// row stays its own and the copies are told all the same.
pub async fn replicate(
    cloud: &Cloud,
    key: &str,
    regions: &[String],
    (execution_id, root): (&str, Option<String>),
) -> Result<Vec<RegionCopy>, CloudError> {
    let tracking = cloud.tracking();
    tracking.start(key, GLOBAL_BUCKET, execution_id).await?;
    let buckets = cloud.buckets();
    let copies: Vec<RegionCopy> = stream::iter(regions)
        .map(|region| {
            let buckets = &buckets;
            async move {
                let copied = buckets.copy(GLOBAL_BUCKET, &regional_bucket(region), key).await;
                RegionCopy {
                    region: region.clone(),
                    result: copied.map(|()| Instant::now()),
                }
            }
        })
        .buffer_unordered(COPIES_AT_A_TIME)
        .collect()
        .await;
    let names = |good: bool| {
        let chosen = copies.iter().filter(|copy| copy.result.is_ok() == good);
        chosen.map(|copy| regional_bucket(&copy.region)).collect::<Vec<_>>()
    };
    let failed_buckets = names(false);
    let status = if failed_buckets.is_empty() {
        "COMPLETED"
    } else {
        "PARTIAL_FAILURE"
    };
    let finished = Tracking {
        file_key: key.to_owned(),
        source_bucket: GLOBAL_BUCKET.to_owned(),
        execution_id: execution_id.to_owned(),
        status: status.to_owned(),
        version_id: None,
        root,
        successful_buckets: names(true),
        failed_buckets,
    };
    match tracking.finish(&finished).await {
        Err(error @ CloudError::ConditionFailed { .. }) => {
            tracing::warn!(build = key, execution = execution_id, %error, "replication not recorded");
        }
        result => result?,
    }
    Ok(copies)
}

/// As the workflow's Map state has it.
const COPIES_AT_A_TIME: usize = 10;
