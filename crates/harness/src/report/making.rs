//! From what a run came to, to its report.

use std::collections::BTreeMap;
use std::time::Duration;

use scenario::{
    HostOutcome, HostState, LatencyHistogram, LatencySummary, LiveFacts, REPORT_SCHEMA_VERSION, RegionOutcome,
    RunOutcome, Scenario, Slack, Stop, Verdict, interval_log, percentiles,
};

use super::flows::{fault_times, link_use};
use super::groups::groups;
use super::host_rows::host_rows;
use super::series::curves;
use super::simulation::Simulation;
use super::stretch::{LIVE_SLACK, RegionStretch, Stretch};
use super::{
    About, BannedHost, BuildFacts, Histograms, HostCounts, Latencies, LatencyFiles, Logs, Machine, RegionReport,
    Report, StuckHost, ThresholdLeftOut, ThresholdReport, Traffic, milliseconds, round, workers,
};
use crate::exit::Exit;
use crate::machine::{self, LimitedBy, Shaped};

impl Report {
    pub(crate) fn new(scenario: &Scenario, outcome: &RunOutcome, about: About) -> Self {
        let live = outcome.live();
        let verdict = live.map(|live| machine::judge(live.load.as_ref(), shaped(scenario)));
        let outcomes = &outcome.hosts;
        let stretches = stretches(scenario, outcome);
        let end_to_end = |outcome: &HostOutcome| {
            Some(outcome.verified_after? + live.and_then(|live| live.replicated_after[outcome.region])?)
        };
        let mut report = Self {
            schema_version: REPORT_SCHEMA_VERSION,
            about,
            scenario: scenario.name.clone(),
            description: scenario.description.clone(),
            mode: if live.is_some() { "live" } else { "virtual" },
            transport: live.map(|_| scenario.network.transport),
            seed: scenario.seed,
            git_revision: env!("FLEETCAST_GIT_REVISION"),
            wall_seconds: live.map(|live| round(live.wall.as_secs_f64())),
            interrupted: outcome.stopped.is_some(),
            deadline_seconds: round(outcome.deadline.as_secs_f64()),
            hosts: count_hosts(scenario.host_count(), outcomes),
            build: build(scenario),
            regions: regions(scenario, outcome, &stretches),
            fanout_latency_ms: latencies(&summarize(outcomes, |outcome| outcome.verified_after)),
            end_to_end_latency_ms: latencies(&summarize(outcomes, end_to_end)),
            lower_bound_ms: stretches
                .iter()
                .filter_map(|stretch| stretch.lower_bound)
                .max()
                .map(milliseconds),
            stretch: Stretch::of(&stretches),
            traffic: traffic(outcomes),
            protocol: outcome.protocol,
            faults: outcome.faults,
            logs: logs(live),
            thresholds: Vec::new(),
            thresholds_left_out: Vec::new(),
            warnings: warnings(scenario, outcome),
            workers: workers::workers(live),
            clock_uncertainty_ms: workers::clock_uncertainty(live).map(milliseconds),
            is_lost_counted: live.is_some_and(|live| live.is_lost_counted),
            held_back: scenario.held_back(),
            lost: live.map(|live| live.lost.clone()).unwrap_or_default(),
            machine: live.map(of_machine),
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
            series: curves(scenario, outcome),
            flows: Vec::new(),
            fault_times: fault_times(scenario, outcome),
            host_rows: host_rows(scenario, outcome),
            groups: groups(scenario, outcome),
            last_hosts: Vec::new(),
            causes: Vec::new(),
            stuck: stuck(scenario, outcomes),
            banned: banned(scenario, outcome),
        };
        report.thresholds = report.check(scenario);
        if live.is_none() {
            report.thresholds_left_out = left_out(scenario);
        }
        report
    }

    /// How the program is to end after this run.
    pub(crate) fn exit(&self, stopped: Option<Stop>) -> Exit {
        match stopped {
            Some(Stop::Interrupted) => return Exit::Interrupted,
            Some(Stop::Terminated) => return Exit::Terminated,
            None => {}
        }
        if !self.lost.is_empty() && !self.is_lost_counted {
            Exit::Failed
        } else if self.hosts.pending + self.hosts.failed > 0 {
            Exit::NotConverged
        } else if !self.logs.failed.is_empty() {
            Exit::Failed
        } else if self.thresholds.iter().any(|threshold| threshold.ok == Some(false)) {
            Exit::No
        } else if self.thresholds.iter().any(|threshold| threshold.ok.is_none()) {
            Exit::NoVerdict
        } else {
            Exit::Success
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
            let ok = match verdict {
                Verdict::Met => Some(true),
                Verdict::Missed(_) => Some(false),
                Verdict::NoData => None,
            };
            ThresholdReport {
                name: threshold.name.clone(),
                expression: threshold.expression.clone(),
                ok: ok.filter(|_| stands),
                actual: threshold.actual(&json).cloned().unwrap_or_default(),
                margin: threshold.margin(&json).map(round),
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

/// What of the scenario is hardly meant, and what of the run is hard to believe.
fn warnings(scenario: &Scenario, outcome: &RunOutcome) -> Vec<String> {
    let p50 = summarize(&outcome.hosts, |outcome| outcome.verified_after).p50;
    let mut warnings = scenario.warnings();
    warnings.extend(workers::warnings(outcome.live(), p50));
    warnings
}

fn stretches(scenario: &Scenario, outcome: &RunOutcome) -> Vec<RegionStretch> {
    let slack = match outcome.live() {
        Some(_) => LIVE_SLACK,
        None => Slack::default(),
    };
    let of_region = |region: usize| {
        let own = outcome.hosts.iter().filter(|outcome| outcome.region == region);
        RegionStretch::new(scenario, region, own, slack)
    };
    (0..scenario.regions.len()).map(of_region).collect()
}

fn build(scenario: &Scenario) -> BuildFacts {
    let bytes = scenario.build_size().get();
    BuildFacts {
        id: scenario.build.id.clone(),
        bytes,
        chunks: bytes.div_ceil(scenario.chunk_size().into()),
        chunk_bytes: scenario.chunk_size(),
    }
}

fn regions(scenario: &Scenario, outcome: &RunOutcome, stretches: &[RegionStretch]) -> Vec<RegionReport> {
    let of_region = |(index, region): (usize, &scenario::Region)| {
        let own: Vec<&HostOutcome> = outcome.hosts.iter().filter(|o| o.region == index).collect();
        let replicated_after = outcome.live().and_then(|live| live.replicated_after[index]);
        let RegionOutcome {
            seeding_after,
            seeder_bytes,
        } = outcome.regions[index];
        let counts = count_hosts(region.hosts, own.iter().copied());
        let link_use = link_use(scenario, &scenario.plan(index), &own, (seeding_after, seeder_bytes));
        RegionReport {
            name: region.name.clone(),
            link_use,
            hosts: region.hosts,
            verified: counts.verified,
            failed: counts.failed,
            pending: counts.pending,
            excused: counts.excused,
            stretch: stretches[index].summary(),
            fanout_latency_ms: latencies(&summarize(own, |outcome| outcome.verified_after)),
            lower_bound_ms: stretches[index].lower_bound.map(milliseconds),
            replicated_after_ms: replicated_after.map(milliseconds),
            seeding_after_ms: seeding_after.map(milliseconds),
            seeder_sent_bytes: seeder_bytes,
            seeder_copies: round(seeder_bytes as f64 / scenario.build_size().get() as f64),
        }
    };
    scenario.regions.iter().enumerate().map(of_region).collect()
}

fn logs(live: Option<&LiveFacts>) -> Logs {
    let failed = live.iter().flat_map(|live| live.rows_failed.iter());
    Logs {
        rows: live.map(|live| live.log_rows),
        rows_of_failures: live.map(|live| live.failure_rows),
        unprocessed_retried: live.map(|live| live.rows_unprocessed),
        failed: failed.take(LISTED_MAX).cloned().collect(),
    }
}

fn of_machine(live: &LiveFacts) -> Machine {
    Machine {
        cores: machine::cores(),
        peak_rss_bytes: live.peak_rss_bytes,
        cpu_seconds: round(live.cpu_seconds),
        coordination_cpu_seconds: round(live.coordination_cpu_seconds),
        fanout_utilisation: live.load.as_ref().map(|load| load.own_share),
        load: live.load.clone(),
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

fn count_hosts<'a>(total: u32, outcomes: impl IntoIterator<Item = &'a HostOutcome>) -> HostCounts {
    let mut counts = HostCounts {
        total: total as usize,
        verified: 0,
        failed: 0,
        pending: 0,
        lost: 0,
        excused: 0,
    };
    for outcome in outcomes {
        match outcome.state {
            HostState::Verified => counts.verified += 1,
            HostState::Failed(_) => counts.failed += 1,
            HostState::Excused => counts.excused += 1,
            HostState::Lost => counts.lost += 1,
            HostState::Pending => {}
        }
    }
    // Hosts that were never started are pending too.
    counts.pending = counts.total - counts.verified - counts.failed - counts.excused;
    counts
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
    let (mut encoded, mut tagged) = (BTreeMap::new(), Vec::new());
    for (index, region) in scenario.regions.iter().enumerate() {
        let mut own = LatencyHistogram::default();
        let latencies = outcomes
            .iter()
            .filter(|o| o.region == index)
            .filter_map(|o| o.verified_after);
        latencies.for_each(|latency| own.record(latency));
        all.merge(&own);
        encoded.insert(region.name.clone(), own.encode());
        tagged.push((region.name.as_str(), own));
    }
    encoded.insert("all".to_owned(), all.encode());
    let last = outcomes
        .iter()
        .filter_map(|o| o.verified_after)
        .max()
        .unwrap_or_default();
    Histograms {
        fanout_latency_us: encoded,
        files: LatencyFiles {
            hlog: interval_log(last, &all, &tagged),
            hgrm: percentiles(&all),
        },
    }
}

fn stuck(scenario: &Scenario, outcomes: &[HostOutcome]) -> Vec<StuckHost> {
    let stuck = outcomes
        .iter()
        .filter(|o| matches!(o.state, HostState::Pending | HostState::Lost | HostState::Failed(_)));
    let describe = |outcome: &HostOutcome| StuckHost {
        host: scenario.regions[outcome.region].host_name(outcome.host),
        chunks_held: outcome.chunks_held,
        chunks_total: outcome.chunks_total,
        chunks_without_source: outcome.chunks_without_source,
        neighbours: outcome.neighbours,
        error: match &outcome.state {
            HostState::Failed(error) => Some(error.clone()),
            HostState::Lost => Some("its worker was lost".to_owned()),
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

pub(super) fn latencies(summary: &LatencySummary) -> Latencies {
    Latencies {
        p50: summary.p50.map(milliseconds),
        p90: summary.p90.map(milliseconds),
        p99: summary.p99.map(milliseconds),
        p999: summary.p999.map(milliseconds),
        max: summary.max.map(milliseconds),
    }
}

/// Hosts or rows named one by one at most.
const LISTED_MAX: usize = 20;
