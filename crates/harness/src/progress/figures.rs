//! What a run says of itself to a monitor while it goes on, in the text format of Prometheus.
//!
//! A host counts when a look finds it done, so a latency here is above that of the report by the time between two looks at most.

use std::sync::Mutex;
use std::time::Duration;

use peer::MetricsText;
use scenario::Scenario;

use super::lock;
use crate::live::FleetStatus;

/// How a run stands, for whoever asks.
#[derive(Debug)]
pub(crate) struct Figures {
    scenario: String,
    seed: u64,
    build_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: String,
    failed: usize,
    regions: Vec<Region>,
}

#[derive(Debug, Default)]
struct Region {
    name: String,
    hosts: u32,
    done: u32,
    /// Most that were done at a time: a host that loses its build and fetches it again has one latency.
    counted: u32,
    /// What of the build all of them hold.
    share: f64,
    /// Hosts by the bucket that they are the first to be in; the last one has no end.
    buckets: [u64; BOUNDS.len() + 1],
    latencies: Duration,
}

impl Figures {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let regions = scenario.regions.iter().map(|region| Region {
            name: region.name.clone(),
            hosts: region.hosts,
            ..Region::default()
        });
        Self {
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            build_bytes: scenario.build_size().get(),
            state: Mutex::new(State {
                regions: regions.collect(),
                ..State::default()
            }),
        }
    }

    pub(super) fn phase(&self, what: &str) {
        what.clone_into(&mut lock(&self.state).phase);
    }

    /// How the fan-out stands, so long after each region had the build.
    pub(super) fn note(&self, status: &FleetStatus, ages: &[Duration]) {
        let mut state = lock(&self.state);
        state.failed = status.failed;
        for (index, region) in state.regions.iter_mut().enumerate() {
            region.done = status.done.get(index).copied().unwrap_or_default();
            let held = status.held.get(index).map_or(0.0, |held| held.share());
            region.share = held.max(f64::from(region.done) / f64::from(region.hosts.max(1)));
            let age = ages.get(index).copied().unwrap_or_default();
            let new = region.done.saturating_sub(region.counted);
            let bucket = BOUNDS.iter().position(|bound| age.as_secs_f64() <= *bound);
            region.buckets[bucket.unwrap_or(BOUNDS.len())] += u64::from(new);
            region.latencies += age * new;
            region.counted += new;
        }
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        let state = lock(&self.state);
        let mut text = MetricsText::default();
        text.family("run_info", "gauge", "The run.");
        let run = [("scenario", self.scenario.as_str()), ("seed", &self.seed.to_string())];
        text.sample("run_info", &run, 1.0);
        text.add_by(
            ("run_phase", "gauge", "What it does now."),
            "phase",
            [(state.phase.as_str(), 1.0)],
        );
        let of_run = [
            ("run_build_bytes", "Bytes of the build.", self.build_bytes as f64),
            ("run_hosts_failed", "Hosts that cannot go on.", state.failed as f64),
        ];
        text.add_all("gauge", of_run);
        let mut by_region = |name: &str, help: &str, value: &dyn Fn(&Region) -> f64| {
            let samples = state.regions.iter().map(|region| (region.name.as_str(), value(region)));
            text.add_by((name, "gauge", help), "region", samples);
        };
        by_region("run_hosts", "Hosts.", &|region| region.hosts.into());
        let help = "Hosts that have the build, verified.";
        by_region("run_hosts_done", help, &|region| region.done.into());
        let help = "Bytes of the build that hosts hold, by a sample of them.";
        by_region("run_held_bytes", help, &|region| {
            (region.share * f64::from(region.hosts) * self.build_bytes as f64).round()
        });
        add_latencies(&mut text, &state.regions);
        text.into_text()
    }
}

fn add_latencies(text: &mut MetricsText, regions: &[Region]) {
    let name = "run_fanout_latency_seconds";
    let help = "From when the build was complete in the region until a host had it.";
    text.family(name, "histogram", help);
    for region in regions {
        let of_region = ("region", region.name.as_str());
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (hosts, bound) in region.buckets.iter().zip(BOUNDS.iter().map(f64::to_string)) {
            below += hosts;
            text.sample(&bucket, &[of_region, ("le", &bound)], below as f64);
        }
        let all = f64::from(region.counted);
        text.sample(&bucket, &[of_region, ("le", "+Inf")], all);
        text.sample(&format!("{name}_sum"), &[of_region], region.latencies.as_secs_f64());
        text.sample(&format!("{name}_count"), &[of_region], all);
    }
}

/// Upper ends of the buckets of latencies, in seconds.
const BOUNDS: [f64; 14] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            scenario: "a \"b\"".to_owned(),
            seed: 3,
            build_bytes: 1000,
            state: Mutex::new(State {
                regions: vec![Region {
                    name: "region-a".to_owned(),
                    hosts: 10,
                    ..Region::default()
                }],
                ..State::default()
            }),
        }
    }

    fn status(done: u32) -> FleetStatus {
        FleetStatus {
            done: vec![done],
            ..FleetStatus::default()
        }
    }

    #[test]
    fn each_host_is_in_the_bucket_of_the_look_that_found_it_and_counts_once() {
        let figures = figures();
        for (done, seconds) in [(0, 1), (4, 2), (3, 3), (4, 4), (10, 3000)] {
            figures.note(&status(done), &[Duration::from_secs(seconds)]);
        }
        let text = figures.text();
        let has = |line: &str| assert!(text.lines().any(|of| of == line), "no {line:?} in\n{text}");
        has("fleetcast_run_fanout_latency_seconds_bucket{region=\"region-a\",le=\"1\"} 0");
        has("fleetcast_run_fanout_latency_seconds_bucket{region=\"region-a\",le=\"2.5\"} 4");
        has("fleetcast_run_fanout_latency_seconds_bucket{region=\"region-a\",le=\"2500\"} 4");
        has("fleetcast_run_fanout_latency_seconds_bucket{region=\"region-a\",le=\"+Inf\"} 10");
        has("fleetcast_run_fanout_latency_seconds_sum{region=\"region-a\"} 18008");
        has("fleetcast_run_fanout_latency_seconds_count{region=\"region-a\"} 10");
        has("fleetcast_run_hosts_done{region=\"region-a\"} 10");
        has("fleetcast_run_held_bytes{region=\"region-a\"} 10000");
        has("fleetcast_run_info{scenario=\"a \\\"b\\\"\",seed=\"3\"} 1");
    }
}
