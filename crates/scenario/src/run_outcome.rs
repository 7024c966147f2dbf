//! What a whole run comes to, live or in virtual time: what both know, and apart from it what only one of them knows.
//!
//! A figure that one of them has not is not there, and not a zero.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm::PeerStats;

use crate::{Fidelity, HostOutcome, MachineLoad};

/// What a run has come to.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The hosts that were started, in no order.
    pub hosts: Vec<HostOutcome>,
    /// By region, in the scenario's order.
    pub regions: Vec<RegionOutcome>,
    /// What the hosts' protocol did, in all.
    pub protocol: PeerStats,
    /// What went wrong, in all.
    pub faults: FaultCounts,
    /// Hosts that were banned for what they sent, by region and index; once for each host that banned them.
    pub banned: Vec<(usize, u32)>,
    /// When it was to give up, counted from when the build is complete in the regional buckets.
    pub deadline: Duration,
    /// Why it ended before its hosts did, where it has.
    pub stopped: Option<Stop>,
    /// What only one way of running a scenario knows.
    pub facts: Facts,
}

impl RunOutcome {
    /// What only a live run knows.
    pub fn live(&self) -> Option<&LiveFacts> {
        match &self.facts {
            Facts::Live(facts) => Some(facts),
            Facts::Forecast(_) => None,
        }
    }

    /// What only a forecast knows.
    pub fn forecast(&self) -> Option<&ForecastFacts> {
        match &self.facts {
            Facts::Live(_) => None,
            Facts::Forecast(facts) => Some(facts),
        }
    }
}

/// What only one way of running a scenario knows.
#[derive(Clone, Debug)]
pub enum Facts {
    /// A live run.
    Live(Box<LiveFacts>),
    /// A forecast.
    Forecast(Box<ForecastFacts>),
}

/// What a region has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionOutcome {
    /// From when the build was complete in the regional bucket until its seeders could send; none where they never could.
    pub seeding_after: Option<Duration>,
    /// Payload bytes that its seeders sent.
    pub seeder_bytes: u64,
}

/// Why a run ended before its hosts did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

/// What only a live run knows.
#[derive(Clone, Debug, Default)]
pub struct LiveFacts {
    /// From when the upload began until the build was complete in each region.
    pub replicated_after: Vec<Option<Duration>>,
    /// When all hosts had their place in the overlay, from the beginning.
    pub joined_after: Option<Duration>,
    /// From the beginning to the end.
    pub wall: Duration,
    /// What the machine took of the fan-out, as far as that came.
    pub load: Option<MachineLoad>,
    /// Deployment logs in the table, of hosts that have the build.
    pub log_rows: u64,
    /// Deployment logs in the table, of hosts that have not got it.
    pub failure_rows: u64,
    /// Deployment logs that the table did not take at first.
    pub rows_unprocessed: u64,
    /// Deployment logs that were not written, and why.
    pub rows_failed: Vec<String>,
    /// Parts of the run that were lost, as a worker process that was killed: nothing is known of their hosts.
    pub lost: Vec<String>,
    /// Whether those parts are only counted: their hosts that were not done are lost, and the run went on.
    pub is_lost_counted: bool,
    /// What its worker processes came to, where there were any.
    pub workers: Vec<WorkerFacts>,
    /// Processors of all machines, where there were others.
    pub cores: Option<usize>,
    /// CPU seconds of all processes.
    pub cpu_seconds: f64,
    /// Of that what it took to spread the run over workers: what they were told and told, and putting it together.
    pub coordination_cpu_seconds: f64,
    /// Peak memory of all processes.
    pub peak_rss_bytes: u64,
    /// Of a run by the pipeline.
    pub stages: Option<Stages>,
}

/// What the hosts of a worker process came to.
#[derive(Clone, Debug)]
pub struct WorkerFacts {
    /// What it is called, and where it was.
    pub name: String,
    /// Its hosts.
    pub hosts: usize,
    /// Those of them that were not done.
    pub not_done: usize,
    /// When half of them were done.
    pub p50: Option<Duration>,
    /// When all of them were done.
    pub last: Option<Duration>,
    /// Where it was on another machine.
    pub clock: Option<ClockFacts>,
}

/// How the clock of another machine ran beside the run's.
#[derive(Clone, Copy, Debug)]
pub struct ClockFacts {
    /// What it was ahead.
    pub offset_ms: f64,
    /// What it gained, in millionths.
    pub drift_ppm: f64,
    /// How far from the truth its times may be that were mapped.
    pub uncertainty: Duration,
}

/// When what had happened, in milliseconds from the beginning of the upload.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stages {
    /// The build was in the global bucket.
    pub uploaded_ms: f64,
    /// By the clock of the cloud.
    pub workflow_started_ms: Option<f64>,
    /// By the clock of the cloud.
    pub workflow_ended_ms: Option<f64>,
    /// The workflow's execution.
    pub execution: Option<String>,
    /// By region.
    pub regions: Vec<RegionStages>,
    /// The row of the last host was in the table.
    pub last_row_ms: Option<f64>,
}

/// Likewise, in a region.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RegionStages {
    /// Its name.
    pub region: String,
    /// The seeder has heard that the build is in the region's bucket.
    pub replicated_ms: f64,
    /// The seeders could send.
    pub seeding_ms: f64,
    /// The first host had the build.
    pub first_host_ms: Option<f64>,
    /// Half of the hosts had it.
    pub half_ms: Option<f64>,
    /// The last host had it.
    pub last_host_ms: Option<f64>,
}

impl Stages {
    /// Notes the first, the middle and the last host of each region, from when it heard of the build.
    pub fn note_hosts(&mut self, outcomes: &[HostOutcome]) {
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

/// What only a forecast knows.
#[derive(Clone, Debug)]
pub struct ForecastFacts {
    /// What was simulated.
    pub fidelity: Fidelity,
    /// How each region ended.
    pub ends: Vec<RegionEnd>,
    /// From seeding to the end, the slowest region.
    pub virtual_time: Duration,
    /// Chunks that arrived.
    pub transfers: u64,
    /// Events handled.
    pub events: u64,
    /// Control messages, without the HAVE messages that a faithful forecast looks up instead.
    pub control_messages: u64,
    /// When the last host's deployment log would be written; none where no host is done.
    pub last_row_after: Option<Duration>,
    /// Payload from one zone to another; not known at the kernel fidelity, whose overlay knows no zones.
    pub cross_zone_bytes: Option<u64>,
    /// What that costs by `network.zones.usd_per_gib`.
    pub cross_zone_usd: Option<f64>,
    /// At the kernel fidelity, how far that is from the faithful one on a fleet that both can do.
    pub kernel_difference: Option<KernelDifference>,
}

/// Why a region's simulation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RegionEnd {
    /// Every host of which that is expected has the build.
    Converged,
    /// Virtual time has passed the deadline.
    Deadline,
    /// Nothing more can happen: no chunk is on its way, nobody is to come, go or return before the deadline, and no chunk was
    /// stored for a long time.
    Deadlock,
    /// The caller stopped it.
    Stopped,
}

/// How far the kernel is from the faithful fidelity for a fleet of the same kind and a size that both can do.
#[derive(Clone, Copy, Debug)]
pub struct KernelDifference {
    /// Hosts of the one region that was simulated both ways.
    pub hosts: u32,
    /// The faithful makespan.
    pub faithful: Duration,
    /// The kernel's.
    pub kernel: Duration,
}

impl KernelDifference {
    /// By how many percent the kernel's makespan is shorter (negative) or longer than the faithful one.
    pub fn percent(&self) -> f64 {
        (self.kernel.as_secs_f64() / self.faithful.as_secs_f64() - 1.0) * 100.0
    }
}

/// What went wrong at some time, of what the scenario says. What members do with requests holds from the start and is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCounts {
    /// Faults that have begun, one for each host or seeder that left or was disturbed, and one for each cut or reset.
    pub begun: u64,
    /// Those of them that are over.
    pub ended: u64,
    /// Connections that resets and partitions ended, as far as they were made.
    pub connections_cut: u64,
}

impl FaultCounts {
    /// Adds what others have counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            begun,
            ended,
            connections_cut,
        } = *other;
        self.begun += begun;
        self.ended += ended;
        self.connections_cut += connections_cut;
    }
}

/// Counters as reports have them: a map from their names, which the core knows, since it knows no format.
pub mod protocol_counts {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::collections::BTreeMap;

    use super::PeerStats;

    /// Writes them in the order of the core's table.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(counts: &PeerStats, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(PeerStats::NAMES.iter().zip(counts.counts()))
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// Where a counter is lacking or of no name.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PeerStats, D::Error> {
        let told = BTreeMap::<String, u64>::deserialize(deserializer)?;
        if let Some(lacking) = PeerStats::NAMES.iter().find(|name| !told.contains_key(**name)) {
            return Err(D::Error::custom(format!("the counter {lacking} is lacking")));
        }
        let mut counts = PeerStats::default();
        for (name, count) in told {
            let counter = counts.named(&name);
            *counter.ok_or_else(|| D::Error::custom(format!("{name} is no counter")))? = count;
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Told(#[serde(with = "protocol_counts")] PeerStats);

    #[test]
    fn counters_go_by_their_names_and_none_is_left_out() {
        let mut counts = PeerStats::default();
        for (number, name) in PeerStats::NAMES.iter().enumerate() {
            *counts.named(name).unwrap() = number as u64 + 1;
        }
        let told = serde_json::to_value(Told(counts)).unwrap();
        assert_eq!(told["requests"], 1);
        let read: Told = serde_json::from_value(told.clone()).unwrap();
        assert_eq!(read.0, counts);
        let error = |change: fn(&mut serde_json::Map<String, serde_json::Value>)| {
            let mut told = told.clone();
            change(told.as_object_mut().unwrap());
            serde_json::from_value::<Told>(told).unwrap_err().to_string()
        };
        assert!(error(|told| drop(told.remove("requests"))).contains("the counter requests is lacking"));
        assert!(error(|told| drop(told.insert("other".to_owned(), 1.into()))).contains("other is no counter"));
    }
}
