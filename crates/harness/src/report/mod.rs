//! What a run says of itself: `report.json`, whose fields other programs rely on, and a summary for people.

mod summary;

use std::collections::BTreeMap;
use std::time::Duration;

use scenario::{Fidelity, HostOutcome, HostState, LatencyHistogram, LatencySummary, Scenario, Transport, Verdict};
use serde::Serialize;

use crate::exit::Exit;
use crate::live::{Measured, ProtocolCounts, Stages, Stop};
use crate::machine;

/// The report of a run. Times are milliseconds; a percentile that falls among hosts that did not finish is null.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema_version: u32,
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
    protocol: ProtocolCounts,
    logs: Logs,
    thresholds: Vec<ThresholdReport>,
    machine: Option<Machine>,
    /// Of a run by the pipeline.
    stages: Option<Stages>,
    /// Of a forecast.
    simulation: Option<Simulation>,
    limited_by: &'static str,
    joined_after_ms: Option<f64>,
    histograms: Histograms,
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
struct Stretch {
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
    control_bytes: u64,
    /// Wasted, of all that was received.
    wasted_share: f64,
}

#[derive(Debug, Serialize)]
struct Logs {
    rows: u64,
    unprocessed_retried: u64,
    failed: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ThresholdReport {
    name: String,
    expression: String,
    /// Null where the report had nothing to compare.
    ok: Option<bool>,
    actual: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    peak_rss_bytes: u64,
    cpu_seconds: f64,
    /// Part of all cores that the fan-out took.
    fanout_utilisation: Option<f64>,
}

/// What a forecast did to come to its result.
#[derive(Debug, Serialize)]
pub(crate) struct Simulation {
    pub(crate) fidelity: Fidelity,
    /// At the kernel fidelity, how far that is from the faithful one on a fleet that both can do.
    pub(crate) kernel_difference: Option<KernelDifference>,
    /// How each region ended: converged, deadline, deadlock or stopped.
    pub(crate) ends: BTreeMap<String, &'static str>,
    /// From seeding to the end, the slowest region.
    pub(crate) virtual_seconds: f64,
    /// Chunks that arrived.
    pub(crate) transfers: u64,
    pub(crate) events: u64,
    pub(crate) control_messages: u64,
    /// When the last host's deployment log was written.
    pub(crate) last_row_after_ms: Option<f64>,
    /// Payload from one zone to another.
    pub(crate) cross_zone_bytes: u64,
    /// What that costs by `network.zones.usd_per_gib`.
    pub(crate) cross_zone_usd: Option<f64>,
}

/// A small fleet of the same kind, simulated both ways.
#[derive(Debug, Serialize)]
pub(crate) struct KernelDifference {
    pub(crate) hosts: u32,
    pub(crate) faithful_makespan_ms: f64,
    pub(crate) kernel_makespan_ms: f64,
    /// How much earlier (negative) or later the kernel says that the last host is done.
    pub(crate) percent: f64,
}

/// Where a report comes from.
pub(crate) enum Mode {
    Live,
    Virtual(Simulation),
}

#[derive(Debug, Serialize)]
struct Histograms {
    /// HdrHistogram V2, base64, microseconds.
    fanout_latency_us: BTreeMap<String, String>,
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
    pub(crate) fn new(scenario: &Scenario, measured: &Measured, mode: Mode) -> Self {
        let live = matches!(mode, Mode::Live);
        let outcomes = &measured.result.outcomes;
        let bounds: Vec<Option<Duration>> = scenario
            .regions
            .iter()
            .map(|region| scenario.lower_bound(region))
            .collect();
        let bound = bounds.iter().copied().max().flatten();
        let latency = |outcome: &HostOutcome| outcome.verified_after;
        // Every region's latency on the scale of the longest bound, so that one division is right for all.
        let scaled = |outcome: &HostOutcome| {
            let own = bounds[outcome.region]?.as_secs_f64();
            Some(outcome.verified_after?.mul_f64(bound?.as_secs_f64() / own))
        };
        let end_to_end =
            |outcome: &HostOutcome| Some(outcome.verified_after? + measured.replicated_after[outcome.region]?);
        let regions = scenario.regions.iter().enumerate().map(|(index, region)| {
            let own: Vec<&HostOutcome> = outcomes.iter().filter(|o| o.region == index).collect();
            let summary = summarize(own.iter().copied(), latency);
            let sent = measured.seeder_bytes_sent.get(index).copied().unwrap_or_default();
            RegionReport {
                name: region.name.clone(),
                hosts: region.hosts,
                stretch: stretch(&summary, bounds[index]),
                fanout_latency_ms: latencies(&summary),
                lower_bound_ms: bounds[index].map(milliseconds),
                replicated_after_ms: measured.replicated_after[index].map(milliseconds),
                seeding_after_ms: measured.seeding_after[index].map(milliseconds),
                seeder_sent_bytes: sent,
                seeder_copies: round(sent as f64 / scenario.build_size().get() as f64),
            }
        });
        let regions = regions.collect();
        let mut report = Self {
            schema_version: 1,
            scenario: scenario.name.clone(),
            description: scenario.description.clone(),
            mode: if live { "live" } else { "virtual" },
            transport: live.then_some(scenario.network.transport),
            seed: scenario.seed,
            git_revision: env!("FLEETCAST_GIT_REVISION"),
            wall_seconds: live.then(|| round(measured.wall.as_secs_f64())),
            interrupted: measured.stopped.is_some(),
            deadline_seconds: round(measured.deadline.as_secs_f64()),
            hosts: count_hosts(scenario, outcomes),
            build: BuildFacts {
                id: scenario.build.id.clone(),
                bytes: scenario.build_size().get(),
                chunks: scenario.build_size().get().div_ceil(scenario.chunk_size().into()),
                chunk_bytes: scenario.chunk_size(),
            },
            regions,
            fanout_latency_ms: latencies(&summarize(outcomes, latency)),
            end_to_end_latency_ms: latencies(&summarize(outcomes, end_to_end)),
            lower_bound_ms: bound.map(milliseconds),
            stretch: stretch(&summarize(outcomes, scaled), bound),
            traffic: traffic(outcomes),
            protocol: measured.result.protocol,
            logs: Logs {
                rows: measured.log_rows,
                unprocessed_retried: measured.result.rows_unprocessed,
                failed: measured.result.rows_failed.iter().take(LISTED_MAX).cloned().collect(),
            },
            thresholds: Vec::new(),
            machine: live.then(|| Machine {
                cores: machine::cores(),
                peak_rss_bytes: measured.peak_rss_bytes,
                cpu_seconds: round(measured.cpu_seconds),
                fanout_utilisation: utilisation(measured).map(round),
            }),
            limited_by: if live { limited_by(scenario, measured) } else { "model" },
            simulation: match mode {
                Mode::Live => None,
                Mode::Virtual(simulation) => Some(simulation),
            },
            stages: measured.stages.clone(),
            joined_after_ms: measured.joined_after.map(milliseconds),
            histograms: histograms(scenario, outcomes),
            stuck: stuck(scenario, outcomes),
            banned: banned(scenario, measured),
        };
        report.thresholds = report.check(scenario);
        report
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// How many hosts did not come to an end.
    pub(crate) fn pending(&self) -> usize {
        self.hosts.pending
    }

    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report has only keys that are text");
        text.push('\n');
        text
    }

    /// How the program is to end after this run.
    pub(crate) fn exit(&self, stopped: Option<Stop>) -> Exit {
        match stopped {
            Some(Stop::Interrupted) => return Exit::Interrupted,
            Some(Stop::Terminated) => return Exit::Terminated,
            None => {}
        }
        if self.hosts.pending + self.hosts.failed > 0 {
            Exit::NotConverged
        } else if !self.logs.failed.is_empty() {
            Exit::Failed
        } else if self.thresholds.iter().any(|threshold| threshold.ok == Some(false)) {
            Exit::No
        } else if self.thresholds.iter().any(|threshold| threshold.ok.is_none()) {
            Exit::NoVerdict
        } else {
            Exit::Well
        }
    }

    fn check(&self, scenario: &Scenario) -> Vec<ThresholdReport> {
        let json = serde_json::to_value(self).expect("a report has only keys that are text");
        let check = |threshold: &scenario::Threshold| {
            let (ok, actual) = match threshold.evaluate(&json) {
                Verdict::Met => (Some(true), serde_json::Value::Null),
                Verdict::Missed(actual) => (Some(false), actual),
                Verdict::NoData => (None, serde_json::Value::Null),
            };
            ThresholdReport {
                name: threshold.name.clone(),
                expression: threshold.expression.clone(),
                ok,
                actual,
            }
        };
        let applies = |threshold: &&scenario::Threshold| self.simulation.is_none() || threshold.applies_to_forecasts();
        scenario.thresholds.iter().filter(applies).map(check).collect()
    }
}

fn summarize<'a>(
    outcomes: impl IntoIterator<Item = &'a HostOutcome>,
    latency: impl Fn(&HostOutcome) -> Option<Duration>,
) -> LatencySummary {
    let expected = outcomes
        .into_iter()
        .filter(|outcome| outcome.state != HostState::Excused);
    LatencySummary::new(expected.map(latency))
}

fn count_hosts(scenario: &Scenario, outcomes: &[HostOutcome]) -> HostCounts {
    let count = |is: fn(&HostState) -> bool| outcomes.iter().filter(|outcome| is(&outcome.state)).count();
    let total = scenario.host_count() as usize;
    let (verified, failed) = (
        count(|s| *s == HostState::Verified),
        count(|s| matches!(s, HostState::Failed(_))),
    );
    let excused = count(|s| *s == HostState::Excused);
    HostCounts {
        total,
        verified,
        failed,
        excused,
        // Hosts that were never started are pending too.
        pending: total - verified - failed - excused,
    }
}

fn traffic(outcomes: &[HostOutcome]) -> Traffic {
    let sum = |of: fn(&HostOutcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let (from_seeder, from_peers) = (sum(|o| o.bytes_from_seeder), sum(|o| o.bytes_from_peers));
    let wasted = sum(|o| o.bytes_wasted);
    let received = from_seeder + from_peers + wasted;
    Traffic {
        from_seeder_bytes: from_seeder,
        from_peers_bytes: from_peers,
        wasted_bytes: wasted,
        control_bytes: sum(|o| o.bytes_control),
        wasted_share: if received == 0 {
            0.0
        } else {
            wasted as f64 / received as f64
        },
    }
}

fn utilisation(measured: &Measured) -> Option<f64> {
    let (cpu, wall) = measured.fan_out?;
    Some(cpu / (wall.as_secs_f64() * machine::cores() as f64))
}

/// Shaped hosts are limited by their links as long as the cores have time left; busier than this, hosts wait for them.
fn limited_by(scenario: &Scenario, measured: &Measured) -> &'static str {
    let busy = utilisation(measured).is_some_and(|part| part > 0.85);
    if scenario.network.host.is_some() && !busy {
        "shaping"
    } else {
        "machine"
    }
}

fn histograms(scenario: &Scenario, outcomes: &[HostOutcome]) -> Histograms {
    let mut all = LatencyHistogram::default();
    let mut encoded = BTreeMap::new();
    for (index, region) in scenario.regions.iter().enumerate() {
        let mut own = LatencyHistogram::default();
        let latencies = outcomes
            .iter()
            .filter(|o| o.region == index)
            .filter_map(|o| o.verified_after);
        latencies.for_each(|latency| own.record(latency));
        all.merge(&own);
        encoded.insert(region.name.clone(), own.encode());
    }
    encoded.insert("all".to_owned(), all.encode());
    Histograms {
        fanout_latency_us: encoded,
    }
}

fn stuck(scenario: &Scenario, outcomes: &[HostOutcome]) -> Vec<StuckHost> {
    let stuck = outcomes
        .iter()
        .filter(|o| matches!(o.state, HostState::Pending | HostState::Failed(_)));
    let describe = |outcome: &HostOutcome| StuckHost {
        host: host_name(scenario, outcome.region, outcome.host),
        chunks_held: outcome.chunks_held,
        chunks_total: outcome.chunks_total,
        chunks_without_source: outcome.chunks_without_source,
        neighbours: outcome.neighbours,
        error: match &outcome.state {
            HostState::Failed(error) => Some(error.clone()),
            HostState::Verified | HostState::Pending | HostState::Excused => None,
        },
    };
    stuck.take(LISTED_MAX).map(describe).collect()
}

fn banned(scenario: &Scenario, measured: &Measured) -> Vec<BannedHost> {
    let mut counts: BTreeMap<(usize, u32), usize> = BTreeMap::new();
    for host in &measured.result.banned {
        *counts.entry(*host).or_default() += 1;
    }
    let named = counts.into_iter().map(|((region, host), by)| BannedHost {
        host: host_name(scenario, region, host),
        by,
    });
    named.collect()
}

fn host_name(scenario: &Scenario, region: usize, host: u32) -> String {
    format!("{}-{host:06}", scenario.regions[region].name)
}

fn latencies(summary: &LatencySummary) -> Latencies {
    Latencies {
        p50: summary.p50.map(milliseconds),
        p90: summary.p90.map(milliseconds),
        p99: summary.p99.map(milliseconds),
        p999: summary.p999.map(milliseconds),
        max: summary.max.map(milliseconds),
    }
}

fn stretch(summary: &LatencySummary, bound: Option<Duration>) -> Stretch {
    let of = |latency: Option<Duration>| Some(round(latency?.as_secs_f64() / bound?.as_secs_f64()));
    Stretch {
        p50: of(summary.p50),
        p90: of(summary.p90),
        p99: of(summary.p99),
        p999: of(summary.p999),
        max: of(summary.max),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1000.0)
}

/// Three decimals: more would be noise.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Hosts or rows named one by one at most.
const LISTED_MAX: usize = 20;
