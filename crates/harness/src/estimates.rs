//! What a run and a forecast of a scenario take, about: said by `check`, and looked at before anything is begun.

use std::path::Path;
use std::time::Duration;

use scenario::{Fidelity, Scenario, Transport};
use serde::Serialize;
use swarm::Bytes;

use crate::machine;

/// What a live run takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OfRun {
    pub(crate) memory_bytes: u64,
    /// Of the embedded cloud: the build in the global bucket, and in each region's.
    pub(crate) disk_bytes: u64,
    /// Payload that all hosts receive together.
    pub(crate) payload_bytes: u64,
    /// From the beginning to the end.
    pub(crate) seconds: f64,
}

/// What a forecast takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OfForecast {
    pub(crate) memory_bytes: u64,
    pub(crate) transfers: u64,
    /// Between these, by what its hosts have to do with each other.
    pub(crate) seconds_least: f64,
    pub(crate) seconds_most: f64,
}

/// Of a run in which the slowest region's last host is done after `bound` at the earliest.
pub(crate) fn of_run(scenario: &Scenario, bound: Option<Duration>) -> OfRun {
    let build = scenario.build_size().get();
    let hosts = u64::from(scenario.host_count());
    let payload = hosts.saturating_mul(build);
    let moved_in = payload as f64 / bytes_per_second(scenario.network.transport);
    // `10k-hosts.toml` 55 s with a bound of 40, `shaped-1k.toml` 28 s with one of 19, `10k-hosts-tcp.toml` 80 s without.
    let fan_out = bound.map_or(moved_in, |bound| (bound.as_secs_f64() * 1.25).max(moved_in));
    OfRun {
        memory_bytes: memory_of_run(scenario),
        disk_bytes: build.saturating_mul(1 + scenario.regions.len() as u64),
        payload_bytes: payload,
        seconds: 1.5 + fan_out + hosts as f64 / 2000.0,
    }
}

/// Of a forecast on so many threads, each of which has a region at a time.
pub(crate) fn of_forecast(scenario: &Scenario, threads: usize) -> OfForecast {
    let chunks = scenario.build_size().get().div_ceil(scenario.chunk_size().into());
    let transfers = |hosts: u32| u64::from(hosts).saturating_mul(chunks);
    let all = transfers(scenario.host_count());
    let largest = scenario
        .regions
        .iter()
        .map(|region| transfers(region.hosts))
        .max()
        .unwrap_or_default();
    // On so many threads at once no region is done earlier than the largest.
    let at_once = threads.clamp(1, scenario.regions.len().max(1)) as f64;
    let alone = (all as f64 / at_once).max(largest as f64);
    let (least, most) = match scenario.fidelity {
        Fidelity::Faithful => (MICROS_LEAST, MICROS_MOST),
        Fidelity::Kernel => (MICROS_LEAST / KERNEL_FASTER, MICROS_MOST / KERNEL_FASTER),
    };
    OfForecast {
        memory_bytes: simulator::memory_estimate(scenario, threads),
        transfers: all,
        seconds_least: alone * least / 1e6,
        seconds_most: alone * most / 1e6,
    }
}

/// Bytes that a run takes, about: what was measured for each transport, and the build once, since hosts share its chunks.
pub(crate) fn memory_of_run(scenario: &Scenario) -> u64 {
    memory_of_hosts(scenario, scenario.host_count())
}

/// Bytes that so many of its hosts take.
pub(crate) fn memory_of_hosts(scenario: &Scenario, hosts: u32) -> u64 {
    // `harness run` of 10,000 hosts in process (1 GiB) and over TCP (6.8 GiB), and of 100 over QUIC (304 MiB), each with 12
    // neighbours wanted, which makes some 13 links of a host.
    let (host_kib, link_kib) = match scenario.network.transport {
        Transport::InProcess => (20, 6),
        Transport::Memory => (40, 25),
        Transport::Tcp => (100, 45),
        Transport::Quic => (700, 130),
    };
    let of_host = (host_kib + link_kib * (u64::from(scenario.swarm.degree) + 1)) << 10;
    u64::from(hosts) * of_host + scenario.build_size().get()
}

/// Why there is no room under `folder` for the cloud of a run, where there is none.
pub(crate) fn lacks_disk(scenario: &Scenario, folder: &Path) -> Option<String> {
    let needed = of_run(scenario, None).disk_bytes;
    let free = machine::free_disk(folder)?;
    (needed > free).then(|| {
        format!(
            "the run's cloud holds the build {} times, {} in all, and {} are free under {}; expected a smaller build, fewer \
             regions, or --out on a larger disk",
            1 + scenario.regions.len(),
            Bytes::new(needed),
            Bytes::new(free),
            folder.display()
        )
    })
}

/// What two cores carry, without limits: 40 GiB in 11 s in process, and in 80 s over TCP.
const fn bytes_per_second(transport: Transport) -> f64 {
    match transport {
        Transport::InProcess | Transport::Memory => 3.5e9,
        Transport::Tcp => 0.5e9,
        Transport::Quic => 0.1e9,
    }
}

/// Of a transfer of a chunk: `harness plan --threads 1` of the scenarios of this repository took 3 to 12, on a machine with other work.
const MICROS_LEAST: f64 = 2.0;
const MICROS_MOST: f64 = 12.0;
/// The bare policy has no messages: a million hosts took 4.4 a transfer.
const KERNEL_FASTER: f64 = 2.0;
