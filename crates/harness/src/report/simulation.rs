//! What a report says of how a forecast was made.

use std::collections::BTreeMap;

use scenario::{Fidelity, ForecastFacts, RegionEnd, Scenario};
use serde::Serialize;

use super::milliseconds;

/// What a forecast did to come to its result.
#[derive(Debug, Serialize)]
pub(super) struct Simulation {
    pub(super) fidelity: Fidelity,
    /// At the kernel fidelity, how far that is from the faithful one on a fleet that both can do.
    pub(super) kernel_difference: Option<KernelDifference>,
    /// How each region ended: converged, deadline, deadlock or stopped.
    pub(super) ends: BTreeMap<String, RegionEnd>,
    /// From seeding to the end, the slowest region.
    pub(super) virtual_seconds: f64,
    /// Chunks that arrived.
    pub(super) transfers: u64,
    pub(super) events: u64,
    pub(super) control_messages: u64,
    /// When the last host's deployment log would be written.
    last_row_after_ms: Option<f64>,
    /// Payload from one zone to another; null at the kernel fidelity, which knows no zones.
    pub(super) cross_zone_bytes: Option<u64>,
    /// What that costs by `network.zones.usd_per_gib`.
    pub(super) cross_zone_usd: Option<f64>,
}

/// A small fleet of the same kind, simulated both ways.
#[derive(Debug, Serialize)]
pub(super) struct KernelDifference {
    pub(super) hosts: u32,
    faithful_makespan_ms: f64,
    kernel_makespan_ms: f64,
    /// How much earlier (negative) or later the kernel says that the last host is done.
    pub(super) percent: f64,
}

impl Simulation {
    pub(super) fn new(scenario: &Scenario, facts: &ForecastFacts) -> Self {
        let names = scenario.regions.iter().map(|region| region.name.clone());
        Self {
            fidelity: facts.fidelity,
            kernel_difference: facts.kernel_difference.map(|difference| KernelDifference {
                hosts: difference.hosts,
                faithful_makespan_ms: milliseconds(difference.faithful),
                kernel_makespan_ms: milliseconds(difference.kernel),
                percent: difference.percent(),
            }),
            ends: names.zip(facts.ends.iter().copied()).collect(),
            virtual_seconds: facts.virtual_time.as_secs_f64(),
            transfers: facts.transfers,
            events: facts.events,
            control_messages: facts.control_messages,
            last_row_after_ms: facts.last_row_after.map(milliseconds),
            cross_zone_bytes: facts.cross_zone_bytes,
            cross_zone_usd: facts.cross_zone_usd,
        }
    }
}
