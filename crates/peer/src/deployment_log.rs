//! A host's row in `host-deployment-logs`, from what its node reports.

use std::time::{Duration, SystemTime};

use cloud::{DeploymentLog, DeploymentStatus};

use crate::node::NodeReport;

/// Where a host is and what it is called there.
#[derive(Clone, Debug)]
pub struct HostPlacement {
    /// Its id, such as `region-a-00042`.
    pub host_id: String,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
}

/// The row of a host that finished just now, `duration` after it was to begin; failed where there is an error.
pub fn deployment_log(
    placement: &HostPlacement,
    build_id: &str,
    duration: Duration,
    report: &NodeReport,
    error: Option<String>,
) -> DeploymentLog {
    let completed_at = SystemTime::now();
    DeploymentLog {
        build_id: build_id.to_owned(),
        version: None,
        root: report.root.map(|root| root.to_string()),
        host_id: placement.host_id.clone(),
        region: placement.region.clone(),
        zone: placement.zone.clone(),
        status: if error.is_none() {
            DeploymentStatus::Succeeded
        } else {
            DeploymentStatus::Failed
        },
        error,
        started_at: completed_at.checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
        completed_at,
        duration,
        bytes_from_seeder: report.traffic.from_seeder,
        bytes_from_peers: report.traffic.from_peers,
        bytes_wasted: report.traffic.wasted,
        chunks_held: report.chunks_held,
        chunks_total: report.chunks_total,
    }
}
