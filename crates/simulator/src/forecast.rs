//! A whole scenario: its regions one after another on as many threads as are wanted.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use explain::{Records, RunFacts, Sample};
use scenario::{
    Facts, Fidelity, ForecastFacts, HostOutcome, KernelDifference, LogNetwork, RegionEnd, RegionOutcome, RegionPlan,
    RunOutcome, Scenario, Stop, host_index,
};
use swarm::{Hash, HostId, Manifest};

use crate::kernel::{self, KernelSetup};
use crate::region::{self, RegionResult, RegionSetup, RegionStatus};
use crate::topology::Topology;

/// How to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads, each with one region at a time.
    pub threads: usize,
    /// Virtual time after which hosts count as not converged, from when their seeder can send.
    pub deadline: Duration,
    /// Whether to record what passes at the hosts, for [`explain::Reasons`]. Nothing is at the kernel fidelity.
    pub record: bool,
}

/// How a simulation stands; read by another thread while it runs.
#[derive(Debug)]
pub struct Status {
    stop: Arc<AtomicBool>,
    regions: Vec<RegionCounters>,
}

#[derive(Debug, Default)]
struct RegionCounters {
    virtual_nanos: AtomicU64,
    hosts_done: AtomicU64,
    transfers: AtomicU64,
}

impl Status {
    /// For a scenario that has not begun.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            stop: Arc::default(),
            regions: scenario.regions.iter().map(|_| RegionCounters::default()).collect(),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// For another simulation that ends when this one is stopped.
    fn beside(&self, scenario: &Scenario) -> Self {
        Self {
            stop: Arc::clone(&self.stop),
            ..Self::new(scenario)
        }
    }

    /// Ends the simulation soon; hosts that are not done by then are pending.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Hosts that have the build, all regions together.
    pub fn hosts_done(&self) -> u64 {
        let done = |region: &RegionCounters| region.hosts_done.load(Ordering::Relaxed);
        self.regions.iter().map(done).sum()
    }

    /// Chunks that have arrived.
    pub fn transfers(&self) -> u64 {
        let transfers = |region: &RegionCounters| region.transfers.load(Ordering::Relaxed);
        self.regions.iter().map(transfers).sum()
    }

    /// How far the region that is furthest has come in virtual time.
    pub fn virtual_time(&self) -> Duration {
        let nanos = |region: &RegionCounters| region.virtual_nanos.load(Ordering::Relaxed);
        Duration::from_nanos(self.regions.iter().map(nanos).max().unwrap_or_default())
    }

    fn tell(&self, region: usize, status: RegionStatus) -> bool {
        let counters = &self.regions[region];
        let nanos = u64::try_from(status.virtual_time.as_nanos()).unwrap_or(u64::MAX);
        counters.virtual_nanos.store(nanos, Ordering::Relaxed);
        counters.hosts_done.store(status.hosts_done.into(), Ordering::Relaxed);
        counters.transfers.store(status.transfers, Ordering::Relaxed);
        !self.is_stopped()
    }
}

/// Why a scenario cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// Nothing limits the hosts, so nothing takes time.
    #[error(
        "network.host is missing; a forecast needs the hosts' links, such as uplink = \"10 Gbit/s\" and downlink = \"10 Gbit/s\""
    )]
    NoLinks,
    /// The kernel has no protocol for these to act on.
    #[error("the fidelity \"kernel\" does not have {keys}; expected fidelity = \"faithful\" for them")]
    NotInKernel {
        /// What the scenario asks for.
        keys: String,
    },
    /// The build's chunks do not make a manifest.
    #[error("the build cannot be cut into chunks")]
    Manifest(#[from] swarm::ManifestError),
}

/// What a scenario is expected to come to.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// By region, in the scenario's order.
    pub regions: Vec<RegionResult>,
    /// From when the build was complete in a regional bucket until its seeder could send.
    pub seeding_after: Vec<Duration>,
    /// Chunks of the build.
    pub chunks: u32,
}

impl Forecast {
    /// When the last host's row is in the table of deployment logs, which takes rows of all regions one after another.
    pub fn last_row_after(&self, logs: &LogNetwork) -> Option<Duration> {
        let done = self
            .regions
            .iter()
            .zip(&self.seeding_after)
            .flat_map(|(region, seeding_after)| {
                let hosts = region.hosts.iter().filter_map(|host| host.verified_after);
                hosts.map(move |after| after + *seeding_after)
            });
        let mut done: Vec<Duration> = done.collect();
        done.sort_unstable();
        let row = Duration::from_secs(1) / logs.rows_per_second.max(1);
        let mut free_at = Duration::ZERO;
        for at in &done {
            free_at = free_at.max(*at) + row;
        }
        (!done.is_empty()).then_some(free_at + logs.latency)
    }

    /// What it comes to, in the form that a live run has too.
    pub fn outcome(&self, scenario: &Scenario, deadline: Duration, stopped: Option<Stop>) -> RunOutcome {
        let mut outcome = RunOutcome {
            hosts: self.outcomes(),
            regions: Vec::new(),
            protocol: Default::default(),
            faults: Default::default(),
            banned: Vec::new(),
            deadline,
            stopped,
            facts: Facts::Forecast(Box::new(self.facts(scenario))),
        };
        for (index, (region, after)) in self.regions.iter().zip(&self.seeding_after).enumerate() {
            outcome.regions.push(RegionOutcome {
                seeding_after: Some(*after),
                seeder_bytes: region.seeder_bytes,
            });
            outcome.protocol.add(&region.protocol);
            outcome.faults.add(&region.faults);
            let banned = region.hosts.iter().flat_map(|host| &host.banned);
            let hosts = banned.filter_map(|member| host_index(HostId::new((*member).into())));
            outcome.banned.extend(hosts.map(|host| (index, host)));
        }
        outcome
    }

    fn facts(&self, scenario: &Scenario) -> ForecastFacts {
        let sum = |of: fn(&RegionResult) -> u64| self.regions.iter().map(of).sum::<u64>();
        let longest = self.regions.iter().map(|region| region.virtual_time).max();
        let cross_zone_bytes = self
            .regions
            .iter()
            .map(|region| region.cross_zone_bytes)
            .sum::<Option<u64>>();
        let usd = |per_gib: f64| Some(cross_zone_bytes? as f64 / GIB * per_gib);
        ForecastFacts {
            fidelity: scenario.fidelity,
            ends: self.regions.iter().map(|region| region.end).collect(),
            virtual_time: longest.unwrap_or_default(),
            transfers: sum(|region| region.transfers),
            events: sum(|region| region.events),
            control_messages: sum(|region| region.messages),
            last_row_after: self.last_row_after(&scenario.network.logs),
            cross_zone_bytes,
            cross_zone_usd: scenario.network.zones.usd_per_gib.and_then(usd),
            kernel_difference: None,
        }
    }

    /// What passed at its hosts; none where that was not recorded. It is taken out of the forecast: there may be much of it.
    pub fn take_records(&mut self, scenario: &Scenario, stopped: Option<Stop>) -> Option<Records> {
        self.regions.first()?.records.as_ref()?;
        let rows_after = self.rows_behind(&scenario.network.logs);
        let mut regions = Vec::new();
        for (region, pulled) in self.regions.iter_mut().zip(&self.seeding_after) {
            let mut records = region.records.take()?;
            let pulled = i64::try_from(pulled.as_nanos() / u128::from(explain::TICK_NANOS)).unwrap_or(i64::MAX / 4);
            records.complete_at = records.complete_at.map(|seeding| seeding - pulled);
            regions.push(records);
        }
        Some(Records {
            scenario: scenario.clone(),
            facts: RunFacts {
                stopped: stopped.map(|_| "stopped".to_owned()),
                rows_after,
                ..RunFacts::default()
            },
            sample: Sample::of_forecast(scenario.host_count().into(), self.chunks),
            regions,
        })
    }

    /// How long the last row takes after the last host, in the ticks of records.
    fn rows_behind(&self, logs: &LogNetwork) -> Option<i64> {
        let last = self
            .outcomes()
            .into_iter()
            .filter_map(|host| host.verified_after)
            .max()?;
        let behind = self.last_row_after(logs)?.checked_sub(last)?;
        i64::try_from(behind.as_nanos() / u128::from(explain::TICK_NANOS)).ok()
    }

    /// One outcome per host, as a live run has them.
    pub fn outcomes(&self) -> Vec<HostOutcome> {
        let hosts = self.regions.iter().enumerate().flat_map(|(region, result)| {
            let hosts = (0_u32..).zip(&result.hosts);
            hosts.map(move |(host, result)| (region, host, result))
        });
        hosts
            .map(|(region, host, result)| HostOutcome {
                region,
                host,
                state: result.state.clone(),
                verified_after: result.verified_after.map(|after| after + self.seeding_after[region]),
                bytes_from_seeder: result.bytes_from_seeder,
                bytes_from_peers: result.bytes_from_peers,
                bytes_wasted: result.bytes_wasted,
                bytes_control: None,
                chunks_held: result.chunks_held,
                chunks_total: self.chunks,
                chunks_without_source: result.chunks_without_source,
                neighbours: result.neighbours,
            })
            .collect()
    }
}

/// Simulates every region of `scenario`.
#[expect(
    clippy::disallowed_methods,
    reason = "regions have nothing to do with each other, and are simulated side by side"
)]
pub fn forecast(scenario: &Scenario, options: &Options, status: &Status) -> Result<Forecast, SimulationError> {
    let manifest = Arc::new(virtual_manifest(scenario)?);
    let not_in_kernel = scenario.not_in_kernel();
    if scenario.fidelity == Fidelity::Kernel && !not_in_kernel.is_empty() {
        let keys = not_in_kernel.join(", ");
        return Err(SimulationError::NotInKernel { keys });
    }
    if scenario.network.host.is_none() {
        return Err(SimulationError::NoLinks);
    }
    let count = scenario.regions.len();
    let results: Vec<Mutex<Option<Result<RegionResult, SimulationError>>>> =
        (0..count).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..options.threads.clamp(1, count) {
            threads.spawn(|| {
                loop {
                    let region = next.fetch_add(1, Ordering::Relaxed);
                    if region >= count {
                        break;
                    }
                    *lock(&results[region]) = Some(simulate(scenario, region, &manifest, options, status));
                }
            });
        }
    });
    let regions = results
        .into_iter()
        .map(|result| lock(&result).take().expect("every region was simulated"))
        .collect::<Result<_, _>>()?;
    Ok(Forecast {
        regions,
        seeding_after: scenario.regions.iter().map(|_| scenario.pull_time()).collect(),
        chunks: manifest.chunk_count(),
    })
}

/// Simulates one region. Its fleet is planned here, so that only those that are being simulated take memory.
fn simulate(
    scenario: &Scenario,
    region: usize,
    manifest: &Arc<Manifest>,
    options: &Options,
    status: &Status,
) -> Result<RegionResult, SimulationError> {
    let plan = scenario.plan(region);
    let topology = Topology::new(&plan, &scenario.network).ok_or(SimulationError::NoLinks)?;
    let mut tell = |told| status.tell(region, told);
    Ok(match scenario.fidelity {
        Fidelity::Faithful => {
            let setup = RegionSetup {
                manifest: Arc::clone(manifest),
                topology,
                plan: Arc::new(plan),
                settings: scenario.swarm.clone(),
                recorded: options
                    .record
                    .then(|| Sample::of_forecast(scenario.host_count().into(), manifest.chunk_count())),
                deadline: options.deadline,
            };
            region::run(setup, &mut tell)
        }
        Fidelity::Kernel => kernel::run(kernel_setup(scenario, plan, topology, options), &mut tell),
    })
}

/// Simulates up to a thousand hosts of the first region at both fidelities; `None` where one does not converge, or `status`
/// was stopped.
pub fn kernel_difference(
    scenario: &Scenario,
    options: &Options,
    status: &Status,
) -> Result<Option<KernelDifference>, SimulationError> {
    let mut sample = scenario.clone();
    sample.regions.truncate(1);
    sample.thresholds.clear();
    let hosts = sample.regions[0].hosts.min(DIFFERENCE_HOSTS);
    sample.regions[0].hosts = hosts;
    let mut makespan = |fidelity| -> Result<Option<Duration>, SimulationError> {
        sample.fidelity = fidelity;
        let options = Options {
            record: false,
            ..*options
        };
        let forecast = forecast(&sample, &options, &status.beside(&sample))?;
        let region = &forecast.regions[0];
        let converged = region.end == RegionEnd::Converged;
        let last = region.hosts.iter().filter_map(|host| host.verified_after).max();
        Ok(last.filter(|_| converged))
    };
    let mut makespans = [Duration::ZERO; 2];
    for (makespan_of, fidelity) in makespans.iter_mut().zip([Fidelity::Kernel, Fidelity::Faithful]) {
        // What is so small that it converges before it looks is not begun either.
        if status.is_stopped() {
            return Ok(None);
        }
        match makespan(fidelity)? {
            Some(last) => *makespan_of = last,
            None => return Ok(None),
        }
    }
    let [kernel, faithful] = makespans;
    Ok(Some(KernelDifference {
        hosts,
        faithful,
        kernel,
    }))
}

/// Chunks that a host sends at a time in the kernel, where it is not given: it has nothing to measure.
const KERNEL_SLOTS: usize = 2;

fn kernel_setup(scenario: &Scenario, plan: RegionPlan, topology: Topology, options: &Options) -> KernelSetup {
    let seeder = scenario.swarm.seeder_config(&plan.seeders[0]);
    let chunk_size = scenario.chunk_size();
    let chunks = scenario.build_size().get().div_ceil(chunk_size.into());
    KernelSetup {
        chunks: u32::try_from(chunks).unwrap_or(u32::MAX),
        chunk_size,
        build_size: scenario.build_size().get(),
        hosts: u32::try_from(plan.hosts.len()).expect("a region's hosts are a u32"),
        topology,
        degree: scenario.swarm.degree,
        upload_slots: scenario.swarm.upload_slots.unwrap_or(KERNEL_SLOTS),
        chunks_in_flight: scenario.swarm.chunks_in_flight.unwrap_or(KERNEL_SLOTS + 1),
        seeder_slots: seeder.upload_slots.unwrap_or(KERNEL_SLOTS),
        seeder_clients: seeder.clients,
        seed: plan.seed,
        deadline: options.deadline,
    }
}

/// About how many bytes simulating `scenario` on `threads` threads takes at its peak: the largest regions at once, by what
/// a host and its neighbours' views were seen to take.
pub fn memory_estimate(scenario: &Scenario, threads: usize) -> u64 {
    let chunks = scenario.build_size().get().div_ceil(scenario.chunk_size().into());
    let neighbours = u64::from(scenario.swarm.degree) + 1;
    let per_host = match scenario.fidelity {
        Fidelity::Faithful => HOST_BYTES + neighbours * NEIGHBOUR_BYTES + chunks * CHUNK_BITS / 8,
        Fidelity::Kernel => KERNEL_HOST_BYTES + neighbours * KERNEL_NEIGHBOUR_BYTES + chunks * 2 / 8,
    };
    let mut hosts: Vec<u64> = scenario.regions.iter().map(|region| region.hosts.into()).collect();
    hosts.sort_unstable_by_key(|hosts| std::cmp::Reverse(*hosts));
    let live: u64 = hosts.iter().take(threads.max(1)).sum();
    let all = u64::from(scenario.host_count());
    let recorded = match scenario.fidelity {
        Fidelity::Faithful => Sample::of_forecast(all, u32::try_from(chunks).unwrap_or(u32::MAX)).len() as u64,
        Fidelity::Kernel => 0,
    };
    live * per_host + all * (OUTCOME_BYTES + recorded * RECORD_BYTES)
}

/// The build's manifest with hashes of nothing: no byte moves in virtual time, and whether a chunk verifies is the model's
/// to say.
fn virtual_manifest(scenario: &Scenario) -> Result<Manifest, swarm::ManifestError> {
    let (size, chunk_size) = (scenario.build_size(), scenario.chunk_size());
    let chunks = size.get().div_ceil(chunk_size.into());
    let hashes = (0..chunks).map(|chunk| Hash::of(&chunk.to_le_bytes())).collect();
    Manifest::new(&scenario.build.id, size, chunk_size, hashes)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

const GIB: f64 = (1_u64 << 30) as f64;
/// Bytes of a host without its neighbours and chunks: what remained of the peak memory of runs with 10,000 to 200,000 hosts at once,
/// the room that lists have in reserve included.
const HOST_BYTES: u64 = 12_000;
/// Likewise at the kernel fidelity.
const KERNEL_HOST_BYTES: u64 = 120;
/// Bytes of a link at both its ends, while the overlay is made.
const KERNEL_NEIGHBOUR_BYTES: u64 = 30;
/// Hosts with which fidelities are compared: a second or two.
const DIFFERENCE_HOSTS: u32 = 1000;
/// Bytes of what a host knows of a neighbour, and of its connection.
const NEIGHBOUR_BYTES: u64 = 120;
/// Bits a chunk and host: held, wanted, published, and the order of acquisition.
const CHUNK_BITS: u64 = 3 + 2 * 32;
/// Bytes of a chunk that is recorded of a host: while it is, once it is told, and where links are looked at.
const RECORD_BYTES: u64 = 32 + 36 + 48;
/// Bytes of a host's result.
const OUTCOME_BYTES: u64 = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use scenario::LoadOptions;

    #[test]
    fn what_is_simulated_beside_another_stops_with_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/smoke.toml");
        let scenario = Scenario::load(path.as_ref(), &LoadOptions::default()).unwrap();
        let told = RegionStatus {
            virtual_time: Duration::ZERO,
            hosts_done: 0,
            transfers: 0,
        };
        let status = Status::new(&scenario);
        let beside = status.beside(&scenario);
        assert!(beside.tell(0, told));
        status.stop();
        assert!(!beside.tell(0, told));
    }
}
