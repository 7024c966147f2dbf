//! Rows on their way to `host-deployment-logs`. Whoever has rows to write keeps them until they are told to be there: nothing is
//! kept here.

use std::time::Duration;

use cloud::{Cloud, CloudConfig, DeploymentLog, DeploymentLogTable};
use tokio::sync::OnceCell;

/// The table, connected to when the first row is written.
pub(crate) struct Rows {
    config: CloudConfig,
    table: OnceCell<DeploymentLogTable>,
}

impl Rows {
    /// Rows of this cloud.
    pub(crate) fn new(config: CloudConfig) -> Self {
        Self {
            config,
            table: OnceCell::new(),
        }
    }

    /// Writes a row that is to be the first of its version. When this returns well it is there, or an earlier one is.
    ///
    /// # Errors
    /// A sentence with build and host where it is not there, as far as is known; to write it again does no harm. Not
    /// cancel-safe in the sense that a row whose write was cancelled may be there.
    pub(crate) async fn write(&self, row: &DeploymentLog) -> Result<(), String> {
        let write = async {
            let connect = async || Cloud::connect(&self.config).await.deployment_logs();
            let table = self.table.get_or_init(connect).await;
            table.write_first(row).await.map_err(|error| cloud::chain(&error))
        };
        match tokio::time::timeout(PATIENCE, write).await {
            Ok(written) => written.map(|_| ()),
            Err(_) => {
                let (build, seconds) = (&row.build_id, PATIENCE.as_secs());
                Err(format!(
                    "the row of {build}: no answer from DynamoDB within {seconds} s"
                ))
            }
        }
    }
}

/// How long until a row that could not be written is tried again, after so many failures, the first being 1.
pub(crate) fn again_after(failures: u32) -> Duration {
    (AGAIN_FIRST * (1 << failures.saturating_sub(1).min(10))).min(AGAIN_MAX)
}

/// A write that has not been answered by then is tried again.
const PATIENCE: Duration = Duration::from_secs(10);
/// First wait before a row is tried again; doubles.
const AGAIN_FIRST: Duration = Duration::from_millis(250);
/// Longest such wait.
const AGAIN_MAX: Duration = Duration::from_secs(15);
