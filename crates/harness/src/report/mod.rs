//! What a run says of itself: `report.json`, whose fields other programs rely on, and a summary for people.

mod about;
mod causes;
mod flows;
mod for_ci;
mod groups;
mod host_rows;
mod html;
mod making;
mod parquet;
mod series;
mod simulation;
mod stretch;
mod summary;
mod workers;

use std::collections::BTreeMap;
use std::time::Duration;

use scenario::{FaultCounts, MachineLoad, Stages, Transport};
use serde::Serialize;

use causes::RegionCauses;
use flows::{FaultTime, LinkUse, RegionFlow};
use groups::Group;
use host_rows::HostRows;
use series::Curve;
use simulation::Simulation;
use stretch::Stretch;
use workers::WorkerReport;

pub(crate) use about::{About, Asked, Made, quote};
pub(crate) use causes::slack;
pub(crate) use summary::time;

/// The report of a run. Times are milliseconds; a percentile that falls among hosts that did not finish is null.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema_version: u32,
    about: About,
    pub(crate) scenario: String,
    description: String,
    mode: &'static str,
    /// Of a live run.
    transport: Option<Transport>,
    seed: u64,
    git_revision: &'static str,
    /// Null in a forecast, which is the same on every machine: see timing.json beside it.
    wall_seconds: Option<f64>,
    interrupted: bool,
    deadline_seconds: f64,
    hosts: HostCounts,
    build: BuildFacts,
    regions: Vec<RegionReport>,
    fanout_latency_ms: Latencies,
    end_to_end_latency_ms: Latencies,
    lower_bound_ms: Option<f64>,
    stretch: Stretch,
    traffic: Traffic,
    #[serde(with = "scenario::protocol_counts")]
    protocol: swarm::PeerStats,
    faults: FaultCounts,
    logs: Logs,
    thresholds: Vec<ThresholdReport>,
    /// Those that say nothing of a forecast.
    thresholds_left_out: Vec<ThresholdLeftOut>,
    /// What of the scenario is legal and hardly meant.
    warnings: Vec<String>,
    /// Which hosts their disks or processors keep from using their links.
    held_back: Vec<String>,
    /// Parts of the run that were lost: nothing more is known of their hosts.
    lost: Vec<String>,
    /// Whether the run was to go on without them.
    #[serde(skip)]
    is_lost_counted: bool,
    /// Worker processes, where there were any.
    workers: Vec<WorkerReport>,
    /// How well the clocks of other machines are known; null where there are none.
    clock_uncertainty_ms: Option<f64>,
    machine: Option<Machine>,
    /// Of a run by the pipeline.
    stages: Option<Stages>,
    /// Of a forecast.
    simulation: Option<Simulation>,
    limited_by: &'static str,
    /// The figures that say so; null in a forecast.
    limited_because: Option<String>,
    joined_after_ms: Option<f64>,
    histograms: Histograms,
    /// Hosts that were done over time, by region.
    series: Vec<Curve>,
    /// What passed over time, by region; none where nothing was recorded.
    flows: Vec<RegionFlow>,
    /// When what of the scenario goes wrong.
    fault_times: Vec<FaultTime>,
    /// A row a host.
    #[serde(skip)]
    pub(crate) host_rows: HostRows,
    /// Hosts of each region that are alike: by class of links, zone, and kind of fault.
    groups: Vec<Group>,
    /// The last hosts of each region, and why; none where nothing was recorded.
    last_hosts: Vec<explain::LastHost>,
    /// What made the slowest hosts of each region late.
    causes: Vec<RegionCauses>,
    /// Hosts that did not finish, some of them.
    stuck: Vec<StuckHost>,
    /// Hosts that others banned for what they sent, and by how many.
    banned: Vec<BannedHost>,
}

#[derive(Debug, Serialize)]
struct HostCounts {
    total: usize,
    verified: usize,
    failed: usize,
    pending: usize,
    /// Those of them whose worker was lost.
    lost: usize,
    /// Hosts of which nothing was expected: the scenario made them leave or corrupt.
    excused: usize,
}

#[derive(Debug, Serialize)]
struct BuildFacts {
    id: String,
    bytes: u64,
    chunks: u64,
    chunk_bytes: u32,
}

#[derive(Debug, Serialize)]
struct RegionReport {
    name: String,
    hosts: u32,
    verified: usize,
    failed: usize,
    pending: usize,
    excused: usize,
    fanout_latency_ms: Latencies,
    lower_bound_ms: Option<f64>,
    stretch: Stretch,
    /// From the beginning of the upload until the build was complete in the region's bucket.
    replicated_after_ms: Option<f64>,
    /// From then until the seeder could send.
    seeding_after_ms: Option<f64>,
    seeder_sent_bytes: u64,
    /// What the seeder sent, in builds.
    seeder_copies: f64,
    link_use: LinkUse,
}

#[derive(Debug, Serialize)]
struct Latencies {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Traffic {
    from_seeder_bytes: u64,
    from_peers_bytes: u64,
    wasted_bytes: u64,
    /// Null in a forecast, which does not send every message.
    control_bytes: Option<u64>,
    /// Wasted, of all that was received.
    wasted_share: f64,
}

#[derive(Debug, Serialize)]
struct Logs {
    /// Of hosts that have the build. Null in a forecast, which writes none.
    rows: Option<u64>,
    /// Of hosts that have not got it.
    rows_of_failures: Option<u64>,
    unprocessed_retried: Option<u64>,
    failed: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ThresholdReport {
    name: String,
    expression: String,
    /// Null where the report had nothing to compare.
    ok: Option<bool>,
    /// What the report has for the field, whether that is as it should be or not.
    actual: serde_json::Value,
    /// How far `actual` is from where the verdict changes, in the unit of the field: above 0 where the condition holds.
    margin: Option<f64>,
    /// Why there is no verdict although there was something to compare.
    no_verdict: Option<String>,
}

#[derive(Debug, Serialize)]
struct ThresholdLeftOut {
    name: String,
    expression: String,
    reason: &'static str,
}

#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    peak_rss_bytes: u64,
    cpu_seconds: f64,
    /// Of that what workers and the run took to hear each other.
    coordination_cpu_seconds: f64,
    /// Part of the cores that this run may use which the fan-out took.
    fanout_utilisation: Option<f64>,
    /// What the machine was like during the fan-out; null where it did not come to that.
    load: Option<MachineLoad>,
}

#[derive(Debug, Serialize)]
struct Histograms {
    /// HdrHistogram V2, base64, microseconds.
    fanout_latency_us: BTreeMap<String, String>,
    #[serde(skip)]
    files: LatencyFiles,
}

/// Fan-out latencies in the forms of HdrHistogram's own tools.
#[derive(Debug, Default)]
pub(crate) struct LatencyFiles {
    /// An interval log: all hosts without a tag, then each region with its own.
    pub(crate) hlog: Vec<u8>,
    /// Percentiles of all hosts, milliseconds.
    pub(crate) hgrm: String,
}

#[derive(Debug, Serialize)]
struct StuckHost {
    host: String,
    chunks_held: u32,
    chunks_total: u32,
    chunks_without_source: u32,
    neighbours: u32,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct BannedHost {
    host: String,
    by: usize,
}

impl Report {
    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Its latencies as HdrHistogram's tools read them.
    pub(crate) const fn latency_files(&self) -> &LatencyFiles {
        &self.histograms.files
    }

    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report has only keys that are text");
        text.push('\n');
        text
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1000.0)
}

/// Three decimals: more would be noise.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
