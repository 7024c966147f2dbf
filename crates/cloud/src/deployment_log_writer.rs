//! Writes rows of `host-deployment-logs` in batches, in a task of its own.
//!
//! Invariant: a row that was handed over is in the table, or named in the writer's report. Of the rows of one host and
//! build the last that was handed over stays: two of them are never on their way at the same time. Writing a row twice is
//! harmless, as its key is made of build and host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::deployment_log::DeploymentLog;
use crate::deployment_log_table::{DeploymentLogTable, RowKey};
use crate::error::CloudError;
use crate::names::fnv1a;
use crate::retry::Backoff;

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
    /// Rows that are in the table. One that replaced a row that had not left yet is not counted.
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

    /// Hands a row over; waits while the writer is far behind. Where the future is dropped, the row was not handed over.
    pub async fn write(&self, row: DeploymentLog) {
        // The task ends only after this sender is gone, or by a panic, which `finish` passes on.
        if self.rows.send(row).await.is_err() {
            tracing::error!("the deployment log writer has ended early");
        }
    }

    /// Writes what is left and tells how it went.
    pub async fn finish(self) -> WriterReport {
        drop(self.rows);
        // Nobody aborts the task: an error is a panic, and an empty report would hide that rows are lost.
        self.task
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

async fn run(table: DeploymentLogTable, mut inbox: mpsc::Receiver<DeploymentLog>) -> WriterReport {
    let mut report = WriterReport::default();
    let mut in_flight = FuturesUnordered::new();
    let mut keys_in_flight: BTreeSet<RowKey> = BTreeSet::new();
    let mut waiting: BTreeMap<RowKey, DeploymentLog> = BTreeMap::new();
    // When rows go although they fill no batch.
    let mut deadline = Instant::now();
    let mut overdue = false;
    let mut open = true;
    loop {
        let due = !open || overdue || waiting.len() >= BATCH_LENGTH;
        if due && in_flight.len() < BATCHES_IN_FLIGHT {
            let batch: BTreeMap<_, _> = waiting.extract_if(.., |key, _| !keys_in_flight.contains(key)).collect();
            overdue = false;
            deadline = Instant::now() + LINGER;
            if !batch.is_empty() {
                keys_in_flight.extend(batch.keys().cloned());
                in_flight.push(write_all(&table, batch));
            }
        }
        if !open && waiting.is_empty() && in_flight.is_empty() {
            return report;
        }
        tokio::select! {
            Some((keys, outcome)) = in_flight.next(), if !in_flight.is_empty() => {
                for key in &keys {
                    keys_in_flight.remove(key);
                }
                report.rows_written += outcome.rows_written;
                report.rows_unprocessed += outcome.rows_unprocessed;
                report.calls_retried += outcome.calls_retried;
                report.failed.extend(outcome.failed);
            }
            row = inbox.recv(), if open && waiting.len() < BATCH_LENGTH => match row {
                Some(row) => {
                    if waiting.is_empty() {
                        deadline = Instant::now() + LINGER;
                    }
                    // A batch may not name a key twice; the later row says more.
                    waiting.insert((row.build_id.clone(), row.host_id.clone()), row);
                }
                None => open = false,
            },
            () = tokio::time::sleep_until(deadline), if open && !overdue && !waiting.is_empty() => overdue = true,
        }
    }
}

/// Writes a batch until every row of it is there or will never be: unprocessed rows and throttled calls are tried again,
/// and a batch that is refused is cut in two until the row that is the cause is alone.
async fn write_all(table: &DeploymentLogTable, rows: BTreeMap<RowKey, DeploymentLog>) -> (Vec<RowKey>, WriterReport) {
    let keys: Vec<RowKey> = rows.keys().cloned().collect();
    let seed = keys.first().map_or(0, |(_, host)| fnv1a(host));
    let backoff = Backoff::LOG.seeded(seed.into());
    let mut outcome = WriterReport::default();
    let mut batches = vec![(rows, 1)];
    while let Some((mut rows, mut attempt)) = batches.pop() {
        let why = match table.write_batch(rows.values()).await {
            Ok(left) => {
                let before = rows.len();
                rows.retain(|key, _| left.contains(key));
                outcome.rows_written += (before - rows.len()) as u64;
                outcome.rows_unprocessed += rows.len() as u64;
                if rows.is_empty() {
                    continue;
                }
                // Slow is not stuck.
                if rows.len() < before {
                    attempt = 1;
                }
                "the service left it unprocessed".to_owned()
            }
            Err(CloudError::Invalid { .. }) if rows.len() > 1 => {
                let middle = rows
                    .keys()
                    .nth(rows.len() / 2)
                    .cloned()
                    .expect("half of two or more is one of them");
                let second = rows.split_off(&middle);
                batches.extend([(second, attempt), (rows, attempt)]);
                continue;
            }
            Err(error) if error.is_retryable() && backoff.delay(attempt).is_some() => {
                outcome.calls_retried += 1;
                error.to_string()
            }
            Err(error) => {
                give_up(&mut outcome, rows, &error.to_string());
                continue;
            }
        };
        match backoff.delay(attempt) {
            Some(delay) => {
                tokio::time::sleep(delay).await;
                batches.push((rows, attempt + 1));
            }
            None => give_up(&mut outcome, rows, &why),
        }
    }
    (keys, outcome)
}

fn give_up(outcome: &mut WriterReport, rows: BTreeMap<RowKey, DeploymentLog>, error: &str) {
    let lost = rows.into_keys().map(|(_, host_id)| Undelivered {
        host_id,
        error: error.to_owned(),
    });
    outcome.failed.extend(lost);
}

/// Rows of one BatchWriteItem at most (Amazon DynamoDB API reference).
const BATCH_LENGTH: usize = 25;
/// Batches on their way at a time.
const BATCHES_IN_FLIGHT: usize = 8;
/// A batch that is not full goes this long after its first row came.
const LINGER: Duration = Duration::from_millis(20);
/// Rows that wait to be put into batches at most.
const QUEUE_LENGTH: usize = 1024;
