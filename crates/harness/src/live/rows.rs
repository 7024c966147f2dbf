//! Where a fleet's deployment logs go: into the table, or to whoever sent the job, where the table cannot be reached from here.

use cloud::{Cloud, CloudConfig, DeploymentLog, DeploymentLogWriter, WriterReport};
use tokio::sync::mpsc;

use super::protocol::FromWorker;

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
    pub(super) async fn write(&self, row: DeploymentLog) {
        match self {
            Self::Table(writer) => writer.write(row).await,
            // Where it is gone, nobody wants it.
            Self::Run(out) => _ = out.send(FromWorker::Row(Box::new(row))).await,
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
