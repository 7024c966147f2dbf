//! What happens to a build on its way by the pipeline, and when.

use std::time::Duration;

use scenario::HostOutcome;
use serde::Serialize;

/// When what had happened, in milliseconds from the beginning of the upload.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Stages {
    pub(crate) uploaded_ms: f64,
    /// By the clock of the cloud.
    pub(crate) workflow_started_ms: Option<f64>,
    pub(crate) workflow_ended_ms: Option<f64>,
    pub(crate) execution: Option<String>,
    pub(crate) regions: Vec<RegionStages>,
    pub(crate) last_row_ms: Option<f64>,
}

/// Likewise, in a region.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RegionStages {
    pub(crate) region: String,
    /// The seeder has heard that the build is in the region's bucket.
    pub(crate) replicated_ms: f64,
    pub(crate) seeding_ms: f64,
    pub(crate) first_host_ms: Option<f64>,
    pub(crate) half_ms: Option<f64>,
    pub(crate) last_host_ms: Option<f64>,
}

impl Stages {
    /// The first, the middle and the last host of each region, from when it heard of the build.
    pub(super) fn note_hosts(&mut self, outcomes: &[HostOutcome]) {
        for (index, region) in self.regions.iter_mut().enumerate() {
            let mut latencies: Vec<Duration> = outcomes
                .iter()
                .filter(|outcome| outcome.region == index)
                .filter_map(|outcome| outcome.verified_after)
                .collect();
            latencies.sort_unstable();
            let at = |latency: Option<&Duration>| Some(region.replicated_ms + latency?.as_secs_f64() * 1000.0);
            region.first_host_ms = at(latencies.first());
            region.half_ms = at(latencies.get(latencies.len() / 2));
            region.last_host_ms = at(latencies.last());
        }
    }
}
