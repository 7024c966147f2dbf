//! What a user sees while it runs: one line on a terminal, nothing where stderr goes elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use scenario::Scenario;
use swarm::Bytes;

use crate::live::FleetStatus;

/// A bar over the cells of a sweep.
pub(crate) fn cells(count: usize) -> ProgressBar {
    let bar = ProgressBar::new(count as u64);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// The live line.
pub(crate) struct Progress {
    bar: ProgressBar,
    regions: Vec<(String, u32)>,
    since: Instant,
}

impl Progress {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let bar = ProgressBar::new(scenario.host_count().into());
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            regions: scenario
                .regions
                .iter()
                .map(|region| (region.name.clone(), region.hosts))
                .collect(),
            since: Instant::now(),
        }
    }

    /// A new phase.
    pub(crate) fn phase(&mut self, what: &str) {
        self.since = Instant::now();
        self.bar.set_position(0);
        self.bar.set_message(what.to_owned());
    }

    /// So many hosts of this phase are done.
    pub(crate) fn hosts(&self, count: usize) {
        self.bar.set_position(count as u64);
    }

    /// How the fan-out stands.
    pub(crate) fn fan_out(&self, status: &FleetStatus) {
        let done: u32 = status.done.iter().sum();
        self.bar.set_position(done.into());
        let elapsed = self.since.elapsed().as_secs_f64().max(0.001);
        let regions: Vec<String> = (self.regions.iter().zip(&status.done))
            .map(|((name, hosts), done)| format!("{name} {done}/{hosts}"))
            .collect();
        let rate = Bytes::new((status.bytes as f64 / elapsed) as u64);
        let eta = match (status.bytes, status.bytes_expected) {
            (0, _) => String::new(),
            (bytes, expected) => {
                let left = expected.saturating_sub(bytes) as f64 / (bytes as f64 / elapsed);
                format!(", {left:.0} s left")
            }
        };
        self.bar.set_message(format!("{} — {rate}/s{eta}", regions.join(", ")));
    }

    /// How a forecast stands.
    pub(crate) fn forecast(&self, status: &simulator::Status) {
        self.bar.set_position(status.hosts_done());
        let (elapsed, virtual_time) = (self.since.elapsed().as_secs_f64(), status.virtual_time().as_secs_f64());
        self.bar.set_message(format!(
            "virtual {virtual_time:.2} s, {:.2} x real time, {:.1} M transfers",
            virtual_time / elapsed.max(0.001),
            status.transfers() as f64 / 1e6,
        ));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
