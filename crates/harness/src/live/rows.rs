//! Where a fleet's deployment logs go: into the table, or to whoever sent the job, where the table cannot be reached from here.

use std::time::Duration;

use cloud::{Cloud, CloudConfig, DeploymentLog, DeploymentLogWriter, WriterReport};
use tokio::sync::mpsc;

use super::protocol::FromWorker;
use super::told;

/// Where they go.
#[derive(Clone)]
pub(crate) enum RowsTo {
    /// Into the table of this cloud.
    Table(CloudConfig),
    /// To the run, which has the table.
    Run(mpsc::Sender<FromWorker>),
}

/// What writes them.
pub(super) enum Rows {
    Table(DeploymentLogWriter),
    Run(mpsc::Sender<FromWorker>),
}

impl RowsTo {
    pub(super) async fn open(&self) -> Rows {
        match self {
            Self::Table(config) => {
                let cloud = Cloud::connect(config).await;
                Rows::Table(DeploymentLogWriter::start(cloud.deployment_logs()))
            }
            Self::Run(out) => Rows::Run(out.clone()),
        }
    }
}

impl Rows {
    pub(super) async fn write(&self, rows: Vec<DeploymentLog>) {
        match self {
            Self::Table(writer) => {
                for row in rows {
                    writer.write(row).await;
                }
            }
            Self::Run(_) if rows.is_empty() => {}
            Self::Run(out) => {
                for batch in told::batches(rows) {
                    // Where it is gone, nobody wants them.
                    let _ = out.send(FromWorker::Rows(batch)).await;
                }
                // Those that come meanwhile go together.
                tokio::time::sleep(ROWS_EVERY).await;
            }
        }
    }

    /// Writes what is left. What the run was given the run counts.
    pub(super) async fn finish(self) -> WriterReport {
        match self {
            Self::Table(writer) => writer.finish().await,
            Self::Run(_) => WriterReport::default(),
        }
    }
}

/// Rows that go to the run wait for company so long.
const ROWS_EVERY: Duration = Duration::from_millis(100);
