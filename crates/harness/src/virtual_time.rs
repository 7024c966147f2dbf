//! A forecast: from a scenario to the simulator, and from its result to what a report is made of.

use std::time::{Duration, Instant};

use scenario::{Fidelity, HostState, Scenario};
use serde::Serialize;
use simulator::{Forecast, Options, RegionEnd, SimulationError, Status};

use crate::live::{self, FleetResult, Measured, Stop};
use crate::machine;
use crate::report::{KernelDifference, Mode, Report, Simulation};

/// What a forecast took of this machine. Apart from the report, which is the same everywhere.
#[derive(Debug, Serialize)]
pub(crate) struct Timing {
    pub(crate) threads: usize,
    pub(crate) cores: usize,
    pub(crate) wall_seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) transfers_per_second: f64,
    pub(crate) events_per_second: f64,
    /// Virtual time over real time.
    pub(crate) speed_up: f64,
}

/// Forecasts `scenario` on `threads` threads; `status` is to be read, and the forecast stopped, from elsewhere.
pub(crate) fn forecast(
    scenario: &Scenario,
    threads: usize,
    status: &Status,
    stopped: impl FnOnce() -> Option<Stop>,
) -> Result<(Report, Timing), SimulationError> {
    let (began, cpu_before) = (Instant::now(), machine::cpu_seconds());
    let deadline = live::deadline(scenario);
    let forecast = simulator::forecast(scenario, &Options { threads, deadline }, status)?;
    let wall = began.elapsed();
    let mut simulation = describe(scenario, &forecast);
    if scenario.fidelity == Fidelity::Kernel {
        simulation.kernel_difference =
            simulator::kernel_difference(scenario, &Options { threads, deadline })?.map(|difference| {
                KernelDifference {
                    hosts: difference.hosts,
                    faithful_makespan_ms: difference.faithful.as_secs_f64() * 1000.0,
                    kernel_makespan_ms: difference.kernel.as_secs_f64() * 1000.0,
                    percent: difference.percent(),
                }
            });
    }
    let seconds = wall.as_secs_f64().max(1e-9);
    let timing = Timing {
        threads,
        cores: machine::cores(),
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds: machine::cpu_seconds() - cpu_before,
        peak_rss_bytes: machine::peak_rss_bytes(),
        transfers_per_second: simulation.transfers as f64 / seconds,
        events_per_second: simulation.events as f64 / seconds,
        speed_up: simulation.virtual_seconds / seconds,
    };
    let measured = measured(scenario, &forecast, deadline, stopped());
    Ok((Report::new(scenario, &measured, Mode::Virtual(simulation)), timing))
}

fn describe(scenario: &Scenario, forecast: &Forecast) -> Simulation {
    let end = |end: RegionEnd| match end {
        RegionEnd::Converged => "converged",
        RegionEnd::Deadline => "deadline",
        RegionEnd::Deadlock => "deadlock",
        RegionEnd::Stopped => "stopped",
    };
    let regions = &forecast.regions;
    let longest = regions.iter().map(|region| region.virtual_time).max();
    let cross_zone_bytes: u64 = regions.iter().map(|region| region.cross_zone_bytes).sum();
    let gib = cross_zone_bytes as f64 / f64::from(1_u32 << 30);
    Simulation {
        fidelity: scenario.fidelity,
        kernel_difference: None,
        ends: scenario
            .regions
            .iter()
            .zip(regions)
            .map(|(region, result)| (region.name.clone(), end(result.end)))
            .collect(),
        virtual_seconds: longest.unwrap_or_default().as_secs_f64(),
        transfers: regions.iter().map(|region| region.transfers).sum(),
        events: regions.iter().map(|region| region.events).sum(),
        control_messages: regions.iter().map(|region| region.messages).sum(),
        last_row_after_ms: forecast
            .last_row_after(&scenario.network.logs)
            .map(|after| after.as_secs_f64() * 1000.0),
        cross_zone_bytes,
        cross_zone_usd: scenario.network.zones.usd_per_gib.map(|usd| usd * gib),
    }
}

/// A forecast in the form of a live run's result.
fn measured(scenario: &Scenario, forecast: &Forecast, deadline: Duration, stopped: Option<Stop>) -> Measured {
    let outcomes = forecast.outcomes();
    let verified = outcomes.iter().filter(|outcome| outcome.state == HostState::Verified);
    let log_rows = verified.count() as u64;
    let mut result = FleetResult {
        outcomes,
        rows_written: log_rows,
        ..FleetResult::default()
    };
    for (index, region) in forecast.regions.iter().enumerate() {
        result.protocol.add(&region.protocol.into());
        let banned = region.hosts.iter().flat_map(|host| &host.banned);
        let members = banned.filter_map(|member| member.checked_sub(1));
        result.banned.extend(members.map(|host| (index, host)));
    }
    Measured {
        result,
        stopped,
        replicated_after: vec![None; scenario.regions.len()],
        seeding_after: forecast.seeding_after.iter().copied().map(Some).collect(),
        seeder_bytes_sent: forecast.regions.iter().map(|region| region.seeder_bytes).collect(),
        joined_after: None,
        wall: Duration::ZERO,
        fan_out: None,
        deadline,
        log_rows,
        cpu_seconds: 0.0,
        peak_rss_bytes: 0,
        stages: None,
    }
}
