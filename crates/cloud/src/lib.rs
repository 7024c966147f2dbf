//! The one place that knows AWS: S3 and DynamoDB clients, names, row types, retries, and the embedded cloud.
//!
//! One code path for three clouds: whether the endpoint is AWS, a local stack or the embedded servers, the same clients
//! speak to it over the wire. No AWS type leaves this crate, but for what `pipeline` makes its clients of.

mod buckets;
mod clients;
mod copies;
mod counted_rows;
mod deployment_log;
mod deployment_log_table;
mod deployment_log_writer;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod events;
mod http_client;
mod instance;
mod names;
mod replication;
mod retry;
mod tracking_table;
mod uploads;
mod versions;

pub use buckets::{Buckets, ObjectInfo};
pub use clients::{Cloud, CloudConfig, Credentials};
pub use copies::{CopyLimits, Landed};
pub use counted_rows::{CountedRows, RegionCounts, RowCounts, SampledRow};
pub use deployment_log::{DeploymentLog, DeploymentStatus, timestamp};
pub use deployment_log_table::{DeploymentLogTable, FirstRow};
pub use deployment_log_writer::{DeploymentLogWriter, Undelivered, WriterReport};
#[cfg(feature = "embedded")]
pub use embedded::{EmbeddedCloud, EmbeddedError, Faults, FaultsHappened};
pub use error::CloudError;
pub use events::{EventError, ObjectCreated, builds_told, objects_created};
pub use instance::{availability_zone, is_on_ec2};
pub use names::{
    BUILD_SUFFIXES, BuildId, BuildIdError, BuildKeyError, DEPLOYMENT_LOG_SHARDS, FAILURE_TOPIC,
    FUNCTION_DEAD_LETTER_QUEUE, FUNCTIONS, GLOBAL_BUCKET, HOST_DEPLOYMENT_LOGS, ROUTES, RegionNameError, SEEDERS_MAX,
    TRACKING_TABLE, WORKFLOW, bucket_of_queue, build_shard, check_key, check_regions, fnv1a, is_build,
    queues_of_bucket, region_dead_letter_queue, region_of_bucket, region_of_queue, region_queue, regional_bucket,
    seeder_queue, staged,
};
pub use replication::{RegionCopy, replicate};
pub use retry::Backoff;
pub use tracking_table::{Tracking, TrackingTable};
pub use uploads::PartSource;
pub use versions::{ObjectVersion, Standing};
