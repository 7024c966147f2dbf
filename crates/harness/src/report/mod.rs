//! What a run says of itself: `report.json`, whose fields other programs rely on, and a summary for people.

mod simulation;
mod stretch;
mod summary;

use std::collections::BTreeMap;
use std::time::Duration;

use scenario::{
    FaultCounts, HostOutcome, HostState, LatencyHistogram, LatencySummary, MachineLoad, RunOutcome, Scenario, Slack,
    Stages, Stop, Transport, Verdict,
};
use serde::Serialize;

use crate::exit::Exit;
use crate::machine::{self, LimitedBy, Shaped};
use simulation::Simulation;
use stretch::{LIVE_SLACK, RegionStretch, Stretch};

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
    /// Null in a forecast, which writes none.
    rows: Option<u64>,
    unprocessed_retried: Option<u64>,
    failed: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ThresholdReport {
    name: String,
    expression: String,
    /// Null where the report had nothing to compare.
    ok: Option<bool>,
    actual: serde_json::Value,
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
    /// Part of the cores that this run may use which the fan-out took.
    fanout_utilisation: Option<f64>,
    /// What the machine was like during the fan-out; null where it did not come to that.
    load: Option<MachineLoad>,
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
    pub(crate) fn new(scenario: &Scenario, outcome: &RunOutcome) -> Self {
        let live = outcome.live();
        let verdict = live.map(|live| machine::judge(live.load.as_ref(), shaped(scenario)));
        let outcomes = &outcome.hosts;
        let slack = if live.is_some() { LIVE_SLACK } else { Slack::default() };
        let stretches = (0..scenario.regions.len()).map(|region| {
            let own = outcomes.iter().filter(|outcome| outcome.region == region);
            RegionStretch::new(scenario, region, own, slack)
        });
        let stretches: Vec<RegionStretch> = stretches.collect();
        let bound = stretches.iter().filter_map(|stretch| stretch.lower_bound).max();
        let latency = |outcome: &HostOutcome| outcome.verified_after;
        let replicated_after = |region: usize| live.and_then(|live| live.replicated_after[region]);
        let end_to_end = |outcome: &HostOutcome| Some(outcome.verified_after? + replicated_after(outcome.region)?);
        let regions = scenario.regions.iter().enumerate().map(|(index, region)| {
            let own: Vec<&HostOutcome> = outcomes.iter().filter(|o| o.region == index).collect();
            let summary = summarize(own.iter().copied(), latency);
            let sent = outcome.regions[index].seeder_bytes;
            RegionReport {
                name: region.name.clone(),
                hosts: region.hosts,
                stretch: stretches[index].summary(),
                fanout_latency_ms: latencies(&summary),
                lower_bound_ms: stretches[index].lower_bound.map(milliseconds),
                replicated_after_ms: replicated_after(index).map(milliseconds),
                seeding_after_ms: outcome.regions[index].seeding_after.map(milliseconds),
                seeder_sent_bytes: sent,
                seeder_copies: round(sent as f64 / scenario.build_size().get() as f64),
            }
        });
        let regions = regions.collect();
        let mut report = Self {
            schema_version: 1,
            scenario: scenario.name.clone(),
            description: scenario.description.clone(),
            mode: if live.is_some() { "live" } else { "virtual" },
            transport: live.map(|_| scenario.network.transport),
            seed: scenario.seed,
            git_revision: env!("FLEETCAST_GIT_REVISION"),
            wall_seconds: live.map(|live| round(live.wall.as_secs_f64())),
            interrupted: outcome.stopped.is_some(),
            deadline_seconds: round(outcome.deadline.as_secs_f64()),
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
            stretch: Stretch::of(&stretches),
            traffic: traffic(outcomes),
            protocol: outcome.protocol,
            faults: outcome.faults,
            logs: Logs {
                rows: live.map(|live| live.log_rows),
                unprocessed_retried: live.map(|live| live.rows_unprocessed),
                failed: live
                    .iter()
                    .flat_map(|live| live.rows_failed.iter().take(LISTED_MAX).cloned())
                    .collect(),
            },
            thresholds: Vec::new(),
            thresholds_left_out: Vec::new(),
            warnings: scenario.warnings(),
            held_back: scenario.held_back(),
            machine: live.map(|live| Machine {
                cores: machine::cores(),
                peak_rss_bytes: live.peak_rss_bytes,
                cpu_seconds: round(live.cpu_seconds),
                fanout_utilisation: live.load.as_ref().map(|load| load.own_share),
                load: live.load.clone(),
            }),
            limited_by: match verdict.as_ref().map(|verdict| verdict.limited_by) {
                Some(LimitedBy::Machine) => "machine",
                Some(LimitedBy::Shaping) => "shaping",
                None => "model",
            },
            limited_because: verdict.map(|verdict| verdict.because),
            simulation: outcome.forecast().map(|facts| Simulation::new(scenario, facts)),
            stages: live.and_then(|live| live.stages.clone()),
            joined_after_ms: live.and_then(|live| live.joined_after).map(milliseconds),
            histograms: histograms(scenario, outcomes),
            stuck: stuck(scenario, outcomes),
            banned: banned(scenario, outcome),
        };
        report.thresholds = report.check(scenario);
        if live.is_none() {
            report.thresholds_left_out = left_out(scenario);
        }
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
        // Flat out the machine is what is measured; on limited links it only makes later what it is in the way of.
        let delayed = scenario.network.host.is_some() && self.limited_by == "machine";
        let busy = self.limited_because.as_ref().filter(|_| delayed);
        let check = |threshold: &scenario::Threshold| {
            let verdict = threshold.evaluate(&json);
            let stands = busy.is_none() || threshold.stands_when_delayed(&verdict);
            let (ok, actual) = match verdict {
                Verdict::Met => (Some(true), serde_json::Value::Null),
                Verdict::Missed(actual) => (Some(false), actual),
                Verdict::NoData => (None, serde_json::Value::Null),
            };
            ThresholdReport {
                name: threshold.name.clone(),
                expression: threshold.expression.clone(),
                ok: ok.filter(|_| stands),
                actual,
                no_verdict: busy
                    .filter(|_| !stands)
                    .map(|why| format!("the machine was busy: {why}")),
            }
        };
        let applies =
            |threshold: &&scenario::Threshold| self.simulation.is_none() || threshold.not_of_forecasts().is_none();
        scenario.thresholds.iter().filter(applies).map(check).collect()
    }
}

/// Thresholds that a forecast has nothing to hold against.
fn left_out(scenario: &Scenario) -> Vec<ThresholdLeftOut> {
    let left_out = |threshold: &scenario::Threshold| {
        Some(ThresholdLeftOut {
            name: threshold.name.clone(),
            expression: threshold.expression.clone(),
            reason: threshold.not_of_forecasts()?,
        })
    };
    scenario.thresholds.iter().filter_map(left_out).collect()
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
        control_bytes: outcomes.iter().map(|outcome| outcome.bytes_control).sum(),
        wasted_share: if received == 0 {
            0.0
        } else {
            wasted as f64 / received as f64
        },
    }
}

/// What the links of a scenario expect of the machine; `None` where they are not limited.
fn shaped(scenario: &Scenario) -> Option<Shaped> {
    let links = scenario.network.host.as_ref()?;
    Some(Shaped {
        chunk_time: links
            .uplink()
            .transfer_time(swarm::Bytes::new(scenario.chunk_size().into())),
        latency: scenario.network.latency,
    })
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
        host: scenario.regions[outcome.region].host_name(outcome.host),
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

fn banned(scenario: &Scenario, outcome: &RunOutcome) -> Vec<BannedHost> {
    let mut counts: BTreeMap<(usize, u32), usize> = BTreeMap::new();
    for host in &outcome.banned {
        *counts.entry(*host).or_default() += 1;
    }
    let named = counts.into_iter().map(|((region, host), by)| BannedHost {
        host: scenario.regions[region].host_name(host),
        by,
    });
    named.collect()
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

fn milliseconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1000.0)
}

/// Three decimals: more would be noise.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Hosts or rows named one by one at most.
const LISTED_MAX: usize = 20;
