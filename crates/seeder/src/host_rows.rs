//! Writes the rows that hosts hand over to `host-deployment-logs`, and counts them there.
//!
//! Nothing is kept here: a host has its row on disk until it is told that it is in the table. A seeder that ends loses none, and one that is asked to
//! end has counted what it has written.

use std::time::Duration;

use cloud::{CountedRows, DeploymentLogTable};
use futures::future::{Fuse, FusedFuture as _};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt};
use peer::{HandedRow, RowFate};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Whoever writes hosts' rows.
#[derive(Debug)]
pub struct HostRows {
    rows: CountedRows,
    /// The region that rows are of; as hosts say where absent.
    region: Option<String>,
    /// Rows that were not written since the last one that was.
    failures: u64,
}

impl HostRows {
    /// Rows of this region for this table.
    pub fn new(table: DeploymentLogTable, region: Option<String>) -> Self {
        Self {
            rows: CountedRows::new(table),
            region,
            failures: 0,
        }
    }

    /// Writes what is handed over, some rows at a time, until `stop` comes or there is nobody any more who could hand over one. What it has
    /// begun to write then it ends, and counts. Rows that it has not begun are their hosts' still.
    pub async fn write(mut self, mut handed: mpsc::Receiver<HandedRow>, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut writes = FuturesUnordered::new();
        let mut is_open = true;
        let mut publishing = tokio::time::interval(PUBLISH_EVERY);
        publishing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One at a time, beside the rows: a table that is slow to take it holds up none.
        let mut published = Fuse::terminated();
        while is_open || !writes.is_empty() {
            tokio::select! {
                _ = publishing.tick(), if published.is_terminated() => {
                    let rows = self.rows.clone();
                    published = async move { rows.publish().await }.boxed().fuse();
                }
                outcome = &mut published, if !published.is_terminated() => note_published(outcome),
                row = handed.recv(), if is_open && writes.len() < ROWS_AT_A_TIME => match row {
                    Some(row) => writes.push(write_one(self.rows.clone(), self.region.clone(), row)),
                    None => is_open = false,
                },
                () = &mut stop, if is_open => is_open = false,
                Some(written) = writes.next() => self.note(written),
            }
        }
        // What it has begun to write it alone knows of.
        if !published.is_terminated() {
            note_published(published.await);
        }
        note_published(self.rows.settle().await);
    }

    /// That rows cannot be written is said once, and that they can be again.
    fn note(&mut self, written: Result<(), String>) {
        match written {
            Err(error) => {
                self.failures += 1;
                if self.failures == 1 {
                    tracing::warn!(
                        error,
                        "a host's row is not written; hosts keep theirs and hand them over again"
                    );
                }
            }
            Ok(()) => {
                if self.failures > 0 {
                    let failures = self.failures;
                    tracing::warn!(failures, "rows of hosts are written again");
                }
                self.failures = 0;
            }
        }
    }
}

/// Writes a row and tells its host; why it was not written. Whatever the table says, the host keeps its row: what comes here can be a row, as
/// the directory has looked at it, so it is the table that is another one, of a wrong stage say.
async fn write_one(rows: CountedRows, region: Option<String>, handed: HandedRow) -> Result<(), String> {
    let mut row = handed.row().clone();
    if let Some(region) = region {
        row.region = region;
    }
    let patience = PATIENCE.min(handed.waited_for());
    // A row that nobody waits for comes again, and would be paid for twice.
    let written = if patience.is_zero() {
        Err("rows wait here for longer than their hosts do".to_owned())
    } else {
        match tokio::time::timeout(patience, rows.write(&row)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(program::chain(&error)),
            Err(_) => Err(format!(
                "no answer from DynamoDB within {:.0} s",
                patience.as_secs_f64()
            )),
        }
    };
    handed.answer(match &written {
        Ok(()) => RowFate::Written,
        Err(why) => RowFate::NotNow(why.clone()),
    });
    written
}

/// The next time writes it.
fn note_published(outcome: Result<(), cloud::CloudError>) {
    if let Err(error) = outcome {
        tracing::debug!(error = program::chain(&error), "how many rows there are is not written");
    }
}

/// Between two times that the table is told how many rows there are. It costs a write for each build of which rows have come.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// Rows that are being written at a time: some thousands a second where a write takes ten milliseconds.
const ROWS_AT_A_TIME: usize = 64;
/// A write that has not been answered by then counts as failed, before the host stops waiting.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use cloud::{Cloud, CloudConfig, Credentials, DeploymentLog, DeploymentStatus};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn row() -> DeploymentLog {
        DeploymentLog {
            build_id: "apps/b.zip".to_owned(),
            version: Some("v1".to_owned()),
            root: None,
            host_id: "web-1".to_owned(),
            region: "region-a".to_owned(),
            zone: "zone-a".to_owned(),
            status: DeploymentStatus::Succeeded,
            error: None,
            started_at: SystemTime::now(),
            completed_at: SystemTime::now(),
            duration: Duration::ZERO,
            bytes_from_seeder: 1,
            bytes_from_peers: 2,
            bytes_wasted: 0,
            chunks_held: 3,
            chunks_total: 3,
        }
    }

    /// A table with other keys than ours, as one of a wrong stage may have: it refuses whatever comes.
    async fn other_table() -> DeploymentLogTable {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 16 << 10]).await;
                let body =
                    r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"Missing the key id"}"#;
                let length = body.len();
                let head = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all((head + body).as_bytes()).await;
            }
        });
        let config = CloudConfig {
            region: Some("region-a".to_owned()),
            credentials: Some(Credentials {
                access_key_id: "a".to_owned(),
                secret_access_key: "b".to_owned(),
                session_token: None,
            }),
            ..CloudConfig::at(&endpoint)
        };
        Cloud::connect(&config).await.deployment_logs()
    }

    #[tokio::test]
    async fn hosts_keep_rows_that_the_table_refuses_and_those_that_nobody_waits_for_are_not_written() {
        let rows = CountedRows::new(other_table().await);
        let now = Instant::now();
        let (handed, answered) = HandedRow::new(row(), now);
        let written = write_one(rows.clone(), None, handed).await;
        let fate = answered.await.unwrap();
        assert!(
            matches!(&fate, RowFate::NotNow(why) if why.contains("Missing the key id")),
            "{fate:?}"
        );
        assert!(written.is_err(), "it counts among those that were not written");
        let (handed, answered) = HandedRow::new(row(), now.checked_sub(Duration::from_secs(21)).unwrap());
        assert!(write_one(rows, None, handed).await.is_err());
        let fate = answered.await.unwrap();
        assert!(
            matches!(&fate, RowFate::NotNow(why) if why.contains("wait here")),
            "{fate:?}"
        );
    }
}
