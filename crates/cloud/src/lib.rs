//! The one place that knows AWS: S3 and DynamoDB clients, names, row types, retries, and the embedded cloud.
//!
//! One code path for three clouds: whether the endpoint is AWS, a local stack or the embedded servers, the same clients
//! speak to it over the wire. No AWS type leaves this crate.

mod buckets;
mod clients;
mod deployment_log;
mod deployment_log_table;
mod deployment_log_writer;
mod embedded;
mod error;
mod events;
mod names;
mod pipeline_jobs;
mod provision;
mod queues;
mod replication;
mod retry;
mod tracking_table;
mod uploads;
mod workflow;

pub use buckets::{Buckets, ObjectInfo};
pub use clients::{Cloud, CloudConfig, Credentials};
pub use deployment_log::{DeploymentLog, DeploymentStatus, timestamp};
pub use deployment_log_table::DeploymentLogTable;
pub use deployment_log_writer::{DeploymentLogWriter, Undelivered, WriterReport};
pub use embedded::{EmbeddedCloud, EmbeddedError, Faults, FaultsHappened};
pub use error::{CloudError, chain};
pub use events::{EventError, ObjectCreated, objects_created};
pub use names::{
    BuildId, BuildIdError, DEPLOYMENT_LOG_SHARDS, FAILURE_TOPIC, FUNCTIONS, GLOBAL_BUCKET, HOST_DEPLOYMENT_LOGS,
    ROUTES, TRACKING_TABLE, WORKFLOW, build_shard, region_dead_letter_queue, region_queue, regional_bucket, staged,
};
pub use pipeline_jobs::PipelineJobs;
pub use provision::{Inspection, Pipeline, ProvisionError, Provisioned};
pub use queues::{Queue, QueueMessage, Queues};
pub use replication::{RegionCopy, replicate};
pub use retry::Backoff;
pub use tracking_table::{Tracking, TrackingTable};
pub use uploads::PartSource;
pub use workflow::{Execution, Started, Workflow};
