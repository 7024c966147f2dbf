//! Writes the rows that hosts hand over to `host-deployment-logs`.
//!
//! Nothing is kept here: a host has its row on disk until it is told that it is in the table. A seeder that ends loses none.

use std::time::Duration;

use cloud::{CloudError, DeploymentLogTable};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use peer::{HandedRow, RowFate};
use tokio::sync::mpsc;

/// Whoever writes hosts' rows.
#[derive(Debug)]
pub struct HostRows {
    table: DeploymentLogTable,
    /// The region that rows are of; as hosts say where absent.
    region: Option<String>,
    /// Rows that were not written since the last one that was.
    failures: u64,
}

impl HostRows {
    /// Rows of this region for this table.
    pub const fn new(table: DeploymentLogTable, region: Option<String>) -> Self {
        Self {
            table,
            region,
            failures: 0,
        }
    }

    /// Writes what is handed over, some rows at a time, until there is nobody any more who could hand over one.
    pub async fn write(mut self, mut handed: mpsc::Receiver<HandedRow>) {
        let mut writes = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !writes.is_empty() {
            tokio::select! {
                row = handed.recv(), if is_open && writes.len() < ROWS_AT_A_TIME => match row {
                    Some(row) => writes.push(write_one(self.table.clone(), self.region.clone(), row)),
                    None => is_open = false,
                },
                Some(failed) = writes.next() => self.note(failed),
            }
        }
    }

    /// That rows cannot be written is said once, and that they can be again.
    fn note(&mut self, failed: Option<String>) {
        match failed {
            Some(error) => {
                self.failures += 1;
                if self.failures == 1 {
                    tracing::warn!(
                        error,
                        "a host's row is not written; hosts keep theirs and hand them over again"
                    );
                }
            }
            None => {
                if self.failures > 0 {
                    let failures = self.failures;
                    tracing::warn!(failures, "rows of hosts are written again");
                }
                self.failures = 0;
            }
        }
    }
}

/// Writes a row and tells its host; why it was not written, where it may be later.
async fn write_one(table: DeploymentLogTable, region: Option<String>, handed: HandedRow) -> Option<String> {
    let mut row = handed.row().clone();
    if let Some(region) = region {
        row.region = region;
    }
    let (fate, failed) = match tokio::time::timeout(PATIENCE, table.write_first(&row)).await {
        Ok(Ok(_)) => (RowFate::Written, None),
        Ok(Err(error @ CloudError::Invalid { .. })) => {
            let why = program::chain(&error);
            tracing::warn!(
                host = row.host_id,
                key = row.build_id,
                "a row is refused for good: {why}"
            );
            (RowFate::Refused(why), None)
        }
        Ok(Err(error)) => later(program::chain(&error)),
        Err(_) => later(format!("no answer from DynamoDB within {} s", PATIENCE.as_secs())),
    };
    handed.answer(fate);
    failed
}

fn later(why: String) -> (RowFate, Option<String>) {
    (RowFate::NotNow(why.clone()), Some(why))
}

/// Rows that are being written at a time: some thousands a second where a write takes ten milliseconds.
const ROWS_AT_A_TIME: usize = 64;
/// A write that has not been answered by then counts as failed, before the host stops waiting.
const PATIENCE: Duration = Duration::from_secs(10);
