//! `host-deployment-logs`: one row per host and build, written in batches by a task of its own, counted exactly.
//!
//! Invariant: a row that was handed over is written, or named in the writer's report. Writing one twice is harmless:
//! its key is made of build and host.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, Select, WriteRequest};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::CloudError;
use crate::names::{DEPLOYMENT_LOG_SHARDS, HOST_DEPLOYMENT_LOGS, build_shard, shard_key};
use crate::retry::Backoff;
use crate::tracking_table::{create_table, string, text};

/// Whether a host has the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeploymentStatus {
    /// Verified and in place.
    Succeeded,
    /// Not.
    Failed,
}

impl DeploymentStatus {
    /// As it stands in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }
}

/// What a host reports about a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentLog {
    /// The build.
    pub build_id: String,
    /// The host.
    pub host_id: String,
    /// Its region.
    pub region: String,
    /// Its zone within the region.
    pub zone: String,
    /// Whether it has the build.
    pub status: DeploymentStatus,
    /// Why not.
    pub error: Option<String>,
    /// When it learned of the build.
    pub started_at: SystemTime,
    /// When it had verified it, or gave up.
    pub completed_at: SystemTime,
    /// Time between the two.
    pub duration: Duration,
    /// Payload bytes that came from the seeder.
    pub bytes_from_seeder: u64,
    /// Payload bytes that came from other hosts.
    pub bytes_from_peers: u64,
    /// Payload bytes that were thrown away.
    pub bytes_wasted: u64,
    /// Chunks of the build that it holds.
    pub chunks_held: u32,
    /// Chunks of the build.
    pub chunks_total: u32,
}

/// The table.
#[derive(Clone, Debug)]
pub struct DeploymentLogTable {
    client: Client,
}

impl DeploymentLogTable {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes the table if it is not there.
    pub async fn create_if_missing(&self) -> Result<(), CloudError> {
        create_table(&self.client, HOST_DEPLOYMENT_LOGS, "build_shard", "host_id").await
    }

    /// How many rows a build has, exactly: the counts of its shards, page by page.
    pub async fn count(&self, build_id: &str) -> Result<u64, CloudError> {
        let mut total = 0;
        for shard in 0..DEPLOYMENT_LOG_SHARDS {
            total += Backoff::READ.run(|| self.count_shard(build_id, shard)).await?;
        }
        Ok(total)
    }

    async fn count_shard(&self, build_id: &str, shard: u32) -> Result<u64, CloudError> {
        let request = self
            .client
            .query()
            .table_name(HOST_DEPLOYMENT_LOGS)
            .key_condition_expression("build_shard = :shard")
            .expression_attribute_values(":shard", text(&shard_key(build_id, shard)))
            .select(Select::Count)
            .consistent_read(true);
        let mut pages = request.into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| CloudError::service(format!("count the rows of {build_id}"), &e))?;
            count += u64::try_from(page.count()).unwrap_or_default();
        }
        Ok(count)
    }

    /// The rows of a build by region and status.
    pub async fn count_by_region(&self, build_id: &str) -> Result<BTreeMap<(String, String), u64>, CloudError> {
        let mut counts = BTreeMap::new();
        for shard in 0..DEPLOYMENT_LOG_SHARDS {
            let request = self
                .client
                .query()
                .table_name(HOST_DEPLOYMENT_LOGS)
                .key_condition_expression("build_shard = :shard")
                .expression_attribute_values(":shard", text(&shard_key(build_id, shard)))
                .projection_expression("#region, #status")
                .expression_attribute_names("#region", "region")
                .expression_attribute_names("#status", "status")
                .consistent_read(true);
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| CloudError::service(format!("read the rows of {build_id}"), &e))?;
                for item in page.items() {
                    *counts.entry((string(item, "region"), string(item, "status"))).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }

    async fn write_batch(&self, requests: Vec<WriteRequest>) -> Result<Vec<WriteRequest>, CloudError> {
        let sent = self.client.batch_write_item().request_items(HOST_DEPLOYMENT_LOGS, requests).send().await;
        let sent = sent.map_err(|e| CloudError::service(format!("write rows to {HOST_DEPLOYMENT_LOGS}"), &e))?;
        Ok(sent.unprocessed_items.and_then(|mut items| items.remove(HOST_DEPLOYMENT_LOGS)).unwrap_or_default())
    }

    /// Writes a batch until every row of it is there: unprocessed rows and throttled calls are tried again.
    async fn write_all(&self, rows: Vec<DeploymentLog>) -> BatchOutcome {
        let mut outcome = BatchOutcome::default();
        let mut waiting: HashMap<String, DeploymentLog> = rows.into_iter().map(|r| (r.host_id.clone(), r)).collect();
        let mut attempt = 0;
        while !waiting.is_empty() {
            attempt += 1;
            let requests = waiting.values().filter_map(|row| to_request(row).ok()).collect();
            let error = match self.write_batch(requests).await {
                Ok(unprocessed) => {
                    let before = waiting.len();
                    let hosts = unprocessed.iter().filter_map(|r| r.put_request.as_ref());
                    let left: Vec<String> = hosts.map(|put| string(&put.item, "host_id")).collect();
                    waiting.retain(|host, _| left.contains(host));
                    outcome.written += (before - waiting.len()) as u64;
                    outcome.unprocessed += waiting.len() as u64;
                    "the service left it unprocessed".to_owned()
                }
                Err(error) if error.is_retryable() => {
                    outcome.retries += 1;
                    error.to_string()
                }
                Err(error) => {
                    outcome.give_up(&waiting, &error.to_string());
                    break;
                }
            };
            if waiting.is_empty() {
                break;
            }
            match Backoff::LOG.delay(attempt) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => {
                    outcome.give_up(&waiting, &error);
                    break;
                }
            }
        }
        outcome
    }
}

#[derive(Default)]
struct BatchOutcome {
    written: u64,
    unprocessed: u64,
    retries: u64,
    failed: Vec<Undelivered>,
}

impl BatchOutcome {
    fn give_up(&mut self, waiting: &HashMap<String, DeploymentLog>, error: &str) {
        for host_id in waiting.keys() {
            self.failed.push(Undelivered {
                host_id: host_id.clone(),
                error: error.to_owned(),
            });
        }
    }
}

/// A row that could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Whose it is.
    pub host_id: String,
    /// Why.
    pub error: String,
}

/// What a writer has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriterReport {
    /// Rows that are in the table.
    pub rows_written: u64,
    /// Times that a row came back unprocessed and was sent again.
    pub rows_unprocessed: u64,
    /// Calls that were throttled or failed and were made again.
    pub calls_retried: u64,
    /// Rows that are not in the table.
    pub failed: Vec<Undelivered>,
}

/// Writes rows in the background.
#[derive(Debug)]
pub struct DeploymentLogWriter {
    rows: mpsc::Sender<DeploymentLog>,
    task: JoinHandle<WriterReport>,
}

impl DeploymentLogWriter {
    /// Starts a writer to `table`.
    pub fn start(table: DeploymentLogTable) -> Self {
        let (rows, inbox) = mpsc::channel(QUEUE_LENGTH);
        let task = tokio::spawn(run(table, inbox));
        Self { rows, task }
    }

    /// Hands a row over; waits while the writer is far behind.
    pub async fn write(&self, row: DeploymentLog) {
        // The task ends only after this sender is gone.
        if self.rows.send(row).await.is_err() {
            tracing::error!("the deployment log writer has ended early");
        }
    }

    /// Writes what is left and tells how it went.
    pub async fn finish(self) -> WriterReport {
        drop(self.rows);
        match self.task.await {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(%error, "the deployment log writer has failed");
                WriterReport::default()
            }
        }
    }
}

async fn run(table: DeploymentLogTable, mut inbox: mpsc::Receiver<DeploymentLog>) -> WriterReport {
    let mut report = WriterReport::default();
    let mut in_flight = FuturesUnordered::new();
    let mut batch: Vec<DeploymentLog> = Vec::new();
    let mut open = true;
    while open || !batch.is_empty() || !in_flight.is_empty() {
        let full = batch.len() >= BATCH_LENGTH;
        if (full || !open) && !batch.is_empty() && in_flight.len() < BATCHES_IN_FLIGHT {
            in_flight.push(table.write_all(std::mem::take(&mut batch)));
            continue;
        }
        tokio::select! {
            Some(outcome) = in_flight.next(), if !in_flight.is_empty() => {
                report.rows_written += outcome.written;
                report.rows_unprocessed += outcome.unprocessed;
                report.calls_retried += outcome.retries;
                report.failed.extend(outcome.failed);
            }
            row = inbox.recv(), if open && !full => match row {
                // A batch may not name a key twice; the later row of a host says more.
                Some(row) => match batch.iter_mut().find(|r| r.host_id == row.host_id && r.build_id == row.build_id) {
                    Some(earlier) => *earlier = row,
                    None => batch.push(row),
                },
                None => open = false,
            },
            () = tokio::time::sleep(LINGER), if !batch.is_empty() && in_flight.len() < BATCHES_IN_FLIGHT => {
                in_flight.push(table.write_all(std::mem::take(&mut batch)));
            }
        }
    }
    report
}

fn to_request(row: &DeploymentLog) -> Result<WriteRequest, aws_sdk_dynamodb::error::BuildError> {
    let number = |value: u128| AttributeValue::N(value.to_string());
    let mut put = PutRequest::builder()
        .item("build_shard", text(&build_shard(&row.build_id, &row.host_id)))
        .item("host_id", text(&row.host_id))
        .item("build_id", text(&row.build_id))
        .item("region", text(&row.region))
        .item("zone", text(&row.zone))
        .item("status", text(row.status.as_str()))
        .item("started_at", text(&timestamp(row.started_at)))
        .item("completed_at", text(&timestamp(row.completed_at)))
        .item("duration_ms", number(row.duration.as_millis()))
        .item("bytes_from_seeder", number(row.bytes_from_seeder.into()))
        .item("bytes_from_peers", number(row.bytes_from_peers.into()))
        .item("bytes_wasted", number(row.bytes_wasted.into()))
        .item("chunks_held", number(row.chunks_held.into()))
        .item("chunks_total", number(row.chunks_total.into()))
        .item("agent_version", text(env!("CARGO_PKG_VERSION")));
    if let Some(error) = &row.error {
        put = put.item("error", text(error));
    }
    Ok(WriteRequest::builder().put_request(put.build()?).build())
}

/// A time as RFC 3339 in UTC.
pub fn timestamp(time: SystemTime) -> String {
    DateTime::from(time).fmt(DateTimeFormat::DateTimeWithOffset).unwrap_or_default()
}

/// Rows of one BatchWriteItem at most (Amazon DynamoDB API reference).
const BATCH_LENGTH: usize = 25;
/// Batches on their way at a time.
const BATCHES_IN_FLIGHT: usize = 8;
/// A batch that is not full goes after this.
const LINGER: Duration = Duration::from_millis(20);
/// Rows that wait to be put into batches at most.
const QUEUE_LENGTH: usize = 1024;
