//! Real hosts in this process: all of a run's, or a worker's part. Starts them, carries out their faults, notes when each
//! is done and writes its deployment log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cloud::{Cloud, CloudConfig, DeploymentLog, DeploymentLogWriter};
use parking_lot::Mutex;
use peer::{
    ChunkPool, Clock, Downlinks, EndpointConfig, HostPlacement, InProcessNetwork, Limits, Multiaddr, Node, NodeConfig,
    NodeError, NodeIdentity, NodeReport, Observer, PathDelay, PathFaults, Role, Standstill, StoreError, Traffic,
    deployment_log,
};
use scenario::{Disturbance, FaultCounts, HostOutcome, HostPlan, HostState, RegionPlan, Scenario, Trouble};
use serde::{Deserialize, Serialize};
use swarm::{Contact, DisconnectReason, HostId, PeerConfig, PeerStats, SwarmId, Time};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::disturbances::{Disturbed, KeptChunks};
use super::held::{Held, stride};
use super::node_parts::{contact, kept, listen, segment, shaping, store, transport};
use super::signed::Believed;
use crate::machine::ProcessLoad;

/// Which hosts: every `count`-th from `index` on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Slice {
    pub(crate) index: u32,
    pub(crate) count: u32,
}

/// Where a fleet is connected to.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) network: InProcessNetwork,
    /// The scenario's latency, which the machine does not have by itself.
    pub(crate) path: Option<PathDelay>,
    /// Where paths may break, or let nothing pass.
    pub(crate) paths: Option<PathFaults>,
    /// Of each region's members in this process.
    pub(crate) downlinks: Vec<Downlinks>,
    pub(crate) pool: ChunkPool,
    pub(crate) clock: Clock,
    pub(crate) cloud: CloudConfig,
    /// Addresses of each region's seeders.
    pub(crate) seeders: Vec<Vec<Multiaddr>>,
    /// Whose builds are believed; every seeder's where absent.
    pub(crate) believed: Option<Believed>,
}

/// How a fleet stands, for progress and for knowing when it is done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FleetStatus {
    /// Hosts started.
    pub(crate) started: usize,
    /// Hosts that have their place in the overlay.
    pub(crate) joined: usize,
    /// Hosts that are done, by region.
    pub(crate) done: Vec<u32>,
    /// Hosts that cannot go on.
    pub(crate) failed: usize,
    /// Hosts of which it is expected that are neither done nor failed.
    pub(crate) pending: usize,
    /// What hosts hold, by region.
    pub(crate) held: Vec<Held>,
}

/// What a fleet has come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FleetResult {
    pub(crate) outcomes: Vec<HostOutcome>,
    /// Members that were banned for what they sent, by how many others, as region and host index.
    pub(crate) banned: Vec<(usize, u32)>,
    #[serde(with = "scenario::protocol_counts")]
    pub(crate) protocol: PeerStats,
    /// What went wrong with hosts and, in a worker, the connections that were cut.
    pub(crate) faults: FaultCounts,
    pub(crate) rows_written: u64,
    pub(crate) rows_unprocessed: u64,
    pub(crate) rows_failed: Vec<String>,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) cpu_seconds: f64,
    /// How it was for the process, and what its hosts' links let through.
    pub(crate) load: ProcessLoad,
}

/// Hosts of this process.
pub(crate) struct Fleet {
    shared: Arc<FleetShared>,
    surroundings: Surroundings,
    faults: Vec<JoinHandle<()>>,
    held: Mutex<(Option<Instant>, Vec<Held>)>,
    log: JoinHandle<DeploymentLogWriter>,
    finished: mpsc::Sender<usize>,
}

pub(super) struct FleetShared {
    scenario: Scenario,
    /// By region: all hosts, those of other processes too.
    plans: Arc<[RegionPlan]>,
    slots: Vec<Slot>,
    started: AtomicUsize,
    joined: AtomicUsize,
    done: Vec<AtomicU32>,
    failed: Mutex<Vec<(usize, String)>>,
    /// By region: the numbers of those that were banned in it.
    banned: Mutex<Vec<(usize, HostId)>>,
    /// Of hosts that were stopped.
    protocol: Mutex<PeerStats>,
    pub(super) faults: Mutex<FaultCounts>,
    /// When the build was complete in each region's bucket.
    begun: OnceLock<Vec<Time>>,
    has_begun: Notify,
}

struct Slot {
    region: usize,
    index: u32,
    node: Mutex<Option<Arc<Node>>>,
    started_at: OnceLock<Time>,
    /// Since then it has the build.
    complete_at: Mutex<Option<Time>>,
    /// Whether it had it at some time, so that its row is written.
    was_complete: AtomicBool,
    /// What it had come to when it was last stopped, with the bytes of all its lives.
    last_report: Mutex<Option<NodeReport>>,
    /// What goes wrong with it, and passes.
    disturbance: Option<Disturbance>,
    /// Where it stands still at some time.
    standstill: Option<Standstill>,
    /// What it holds, where it goes down at some time.
    kept: KeptChunks,
}

struct HostObserver {
    shared: Arc<FleetShared>,
    slot: usize,
    finished: mpsc::Sender<usize>,
}

impl Observer for HostObserver {
    fn joined(&self, _host: HostId) {
        self.shared.joined.fetch_add(1, Ordering::Relaxed);
    }

    fn complete(&self, _host: HostId, at: Time, _traffic: Traffic) {
        let slot = &self.shared.slots[self.slot];
        if self.shared.plan(self.slot).serves.claims_all() {
            return;
        }
        let mut complete_at = slot.complete_at.lock();
        if complete_at.is_some() {
            return;
        }
        *complete_at = Some(at);
        drop(complete_at);
        self.shared.done[slot.region].fetch_add(1, Ordering::Relaxed);
        if !slot.was_complete.swap(true, Ordering::Relaxed) {
            // There is room for every host of the fleet.
            let _ = self.finished.try_send(self.slot);
        }
    }

    fn failed(&self, _host: HostId, error: &StoreError) {
        self.shared.failed.lock().push((self.slot, crate::exit::chain(error)));
    }

    fn banned(&self, _host: HostId, other: HostId, _reason: DisconnectReason) {
        let region = self.shared.slots[self.slot].region;
        self.shared.banned.lock().push((region, other));
    }
}

/// What hosts hold is looked at again after this.
const HELD_EVERY: Duration = Duration::from_millis(400);

impl Fleet {
    /// A part of the planned fleet, not started.
    pub(crate) async fn new(
        scenario: &Scenario,
        plans: Arc<[RegionPlan]>,
        slice: Slice,
        surroundings: Surroundings,
    ) -> Self {
        let slots = slots(&plans, slice);
        let (finished, inbox) = mpsc::channel(slots.len() + 1);
        let shared = Arc::new(FleetShared {
            scenario: scenario.clone(),
            plans,
            started: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            done: scenario.regions.iter().map(|_| AtomicU32::new(0)).collect(),
            failed: Mutex::default(),
            banned: Mutex::default(),
            protocol: Mutex::default(),
            faults: Mutex::default(),
            begun: OnceLock::new(),
            has_begun: Notify::new(),
            slots,
        });
        let writer = DeploymentLogWriter::start(Cloud::connect(&surroundings.cloud).await.deployment_logs());
        let log = tokio::spawn(write_logs(Arc::clone(&shared), inbox, writer));
        Self {
            shared,
            surroundings,
            faults: Vec::new(),
            held: Mutex::default(),
            log,
            finished,
        }
    }

    /// Starts the hosts that are there from the beginning.
    pub(crate) async fn start(&self) -> Result<(), NodeError> {
        for slot in 0..self.shared.slots.len() {
            if self.shared.plan(slot).join_at.is_none() {
                start_host(&self.shared, slot, &self.surroundings, &self.finished).await?;
            }
        }
        Ok(())
    }

    /// The build is complete in the regional buckets, at these times: what the latencies and the faults count from.
    pub(crate) fn begin(&mut self, complete_at: Vec<Time>) {
        let clock = self.surroundings.clock;
        for (index, slot) in self.shared.slots.iter().enumerate() {
            let &HostPlan { join_at, leave_at, .. } = self.shared.plan(index);
            let wait = |after: Duration| (complete_at[slot.region] + after).since(clock.now());
            if let Some(after) = join_at {
                let (shared, surroundings) = (Arc::clone(&self.shared), self.surroundings.clone());
                let (finished, wait) = (self.finished.clone(), wait(after));
                self.faults.push(tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    if let Err(error) = start_host(&shared, index, &surroundings, &finished).await {
                        shared.failed.lock().push((index, crate::exit::chain(&error)));
                    }
                }));
            }
            if let Some(after) = leave_at {
                let (shared, wait) = (Arc::clone(&self.shared), wait(after));
                self.faults.push(tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    shared.faults.lock().begun += 1;
                    shared.stop_host(index);
                }));
            }
            if let Some(disturbance) = slot.disturbance {
                let disturbed = Disturbed {
                    shared: Arc::clone(&self.shared),
                    slot: index,
                    surroundings: self.surroundings.clone(),
                    finished: self.finished.clone(),
                };
                let wait = wait(disturbance.at);
                self.faults.push(tokio::spawn(disturbed.carry_out(disturbance, wait)));
            }
        }
        let _ = self.shared.begun.set(complete_at);
        self.shared.has_begun.notify_waiters();
    }

    pub(crate) fn status(&self) -> FleetStatus {
        let shared = &self.shared;
        // Not within the value below, where it would still be locked when `pending` wants it.
        let failed = shared.failed.lock().len();
        FleetStatus {
            started: shared.started.load(Ordering::Relaxed),
            joined: shared.joined.load(Ordering::Relaxed),
            done: shared.done.iter().map(|done| done.load(Ordering::Relaxed)).collect(),
            failed,
            pending: self.pending(),
            held: self.held(),
        }
    }

    /// What some of its hosts hold, looked at now and then: asking a host takes its lock.
    fn held(&self) -> Vec<Held> {
        let mut held = self.held.lock();
        if held.0.is_some_and(|at| at.elapsed() < HELD_EVERY) {
            return held.1.clone();
        }
        let shared = &self.shared;
        let chunks = shared
            .scenario
            .build_size()
            .get()
            .div_ceil(shared.scenario.chunk_size().into());
        let mut of_regions = vec![Held::default(); shared.done.len()];
        for slot in (0..shared.slots.len()).step_by(stride(shared.slots.len())) {
            of_regions[shared.slots[slot].region].add(Held {
                chunks: shared.report(slot).chunks_held.into(),
                of: chunks,
            });
        }
        *held = (Some(Instant::now()), of_regions.clone());
        of_regions
    }

    fn pending(&self) -> usize {
        let failed: BTreeSet<usize> = self.shared.failed.lock().iter().map(|(slot, _)| *slot).collect();
        let slots = self.shared.slots.iter().enumerate();
        let open =
            slots.filter(|(index, slot)| self.shared.plan(*index).is_required() && slot.complete_at.lock().is_none());
        open.filter(|(index, _)| !failed.contains(index)).count()
    }

    /// Ends it: hosts that are not done get a row that says so, and everything is told.
    pub(crate) async fn finish(self) -> FleetResult {
        self.faults.iter().for_each(JoinHandle::abort);
        let begun = self.shared.begun.get().cloned();
        let slots = 0..self.shared.slots.len();
        let outcomes: Vec<HostOutcome> = slots
            .clone()
            .map(|slot| self.shared.outcome(slot, begun.as_deref()))
            .collect();
        let now = self.surroundings.clock.now();
        let unfinished = slots.zip(&outcomes).filter_map(|(slot, outcome)| {
            let error = match &outcome.state {
                HostState::Pending => format!(
                    "not complete: {} of {} chunks",
                    outcome.chunks_held, outcome.chunks_total
                ),
                HostState::Failed(error) => error.clone(),
                HostState::Verified | HostState::Excused => return None,
            };
            Some(self.shared.row(slot, &self.shared.report(slot), Some(error), now))
        });
        let unfinished: Vec<DeploymentLog> = unfinished.collect();
        let mut protocol = *self.shared.protocol.lock();
        let mut load = ProcessLoad::default();
        for (index, slot) in self.shared.slots.iter().enumerate() {
            let build = self.shared.scenario.build_size();
            load.note_links(slot.region, build, &self.shared.report(index).traffic);
            if let Some(node) = slot.node.lock().take() {
                protocol.add(&node.peer_stats().unwrap_or_default());
                node.stop();
            }
        }
        let mut result = FleetResult {
            protocol,
            outcomes,
            faults: *self.shared.faults.lock(),
            banned: self.shared.banned_places(),
            load,
            ..FleetResult::default()
        };
        if begun.is_some() {
            // Behind the last host that was done; there is room for it.
            let _ = self.finished.try_send(END_OF_LOG);
            if let Ok(writer) = self.log.await {
                for row in unfinished {
                    writer.write(row).await;
                }
                let written = writer.finish().await;
                result.rows_written = written.rows_written;
                result.rows_unprocessed = written.rows_unprocessed;
                result.rows_failed = written
                    .failed
                    .iter()
                    .map(|row| format!("{}: {}", row.host_id, row.error))
                    .collect();
            }
        } else {
            self.log.abort();
        }
        result.peak_rss_bytes = crate::machine::peak_rss_bytes();
        result.cpu_seconds = crate::machine::cpu_seconds();
        result
    }
}

impl FleetShared {
    pub(super) fn plan(&self, slot: usize) -> &HostPlan {
        let Slot { region, index, .. } = self.slots[slot];
        &self.plans[region].hosts[index as usize]
    }

    /// The places in their regions of the hosts that were banned. Numbers go with keys, which are made anew where there are any.
    fn banned_places(&self) -> Vec<(usize, u32)> {
        let banned = self.banned.lock();
        let regions: BTreeSet<usize> = banned.iter().map(|(region, _)| *region).collect();
        let numbers = |region: &usize| {
            let plan = &self.plans[*region];
            let number = |host: &HostPlan| NodeIdentity::from_seed(plan.seed, host.id).host();
            let hosts = plan.hosts.iter().map(|host| ((*region, number(host)), host.index));
            hosts.collect::<Vec<_>>()
        };
        let places: BTreeMap<(usize, HostId), u32> = regions.iter().flat_map(numbers).collect();
        let place = |member: &(usize, HostId)| Some((member.0, *places.get(member)?));
        banned.iter().filter_map(place).collect()
    }

    pub(super) fn host_name(&self, slot: usize) -> String {
        let Slot { region, index, .. } = self.slots[slot];
        self.scenario.regions[region].host_name(index)
    }

    /// The host itself, where it is there.
    pub(super) fn node(&self, slot: usize) -> Option<Arc<Node>> {
        self.slots[slot].node.lock().clone()
    }

    pub(super) fn standstill(&self, slot: usize) -> Option<&Standstill> {
        self.slots[slot].standstill.as_ref()
    }

    /// A host goes without a word.
    pub(super) fn stop_host(&self, index: usize) {
        let report = self.report(index);
        let slot = &self.slots[index];
        if let Some(node) = slot.node.lock().take() {
            *slot.last_report.lock() = Some(report);
            self.protocol.lock().add(&node.peer_stats().unwrap_or_default());
            node.stop();
        }
    }

    /// A host that had the build has not all of it any more.
    pub(super) fn is_not_done(&self, slot: usize) {
        let slot = &self.slots[slot];
        if slot.complete_at.lock().take().is_some() {
            self.done[slot.region].fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A host cannot go on.
    pub(super) fn fail(&self, slot: usize, error: &NodeError) {
        self.failed.lock().push((slot, crate::exit::chain(error)));
    }

    fn outcome(&self, slot: usize, begun: Option<&[Time]>) -> HostOutcome {
        let Slot { region, index, .. } = self.slots[slot];
        let report = self.report(slot);
        let since = begun.map(|begun| self.counts_from(slot, begun));
        let plan = self.plan(slot);
        let complete_at = *self.slots[slot].complete_at.lock();
        let verified_after = complete_at
            .filter(|_| !plan.serves.claims_all())
            .zip(since)
            .map(|(at, since)| at.since(since));
        let failed = self
            .failed
            .lock()
            .iter()
            .find(|(other, _)| *other == slot)
            .map(|(_, error)| error.clone());
        let state = match (verified_after, failed) {
            (Some(_), _) => HostState::Verified,
            (None, Some(error)) => HostState::Failed(error),
            (None, None) if plan.is_required() => HostState::Pending,
            (None, None) => HostState::Excused,
        };
        HostOutcome {
            region,
            host: index,
            state,
            verified_after,
            bytes_from_seeder: report.traffic.from_seeder,
            bytes_from_peers: report.traffic.from_peers,
            bytes_wasted: report.traffic.wasted,
            bytes_control: Some(report.traffic.control_sent),
            chunks_held: report.chunks_held,
            chunks_total: report.chunks_total,
            chunks_without_source: u32::try_from(report.chunks_without_source).unwrap_or(u32::MAX),
            neighbours: u32::try_from(report.neighbours).unwrap_or(u32::MAX),
        }
    }

    fn report(&self, slot: usize) -> NodeReport {
        let slot = &self.slots[slot];
        let live = slot.node.lock().as_ref().map(|node| node.report());
        let last = slot.last_report.lock().clone();
        match (live, last) {
            (Some(mut live), Some(last)) => {
                add_bytes(&mut live.traffic, &last.traffic);
                live
            }
            (live, last) => live.or(last).unwrap_or_default(),
        }
    }

    /// A late joiner's latency counts from when it came.
    fn counts_from(&self, slot: usize, begun: &[Time]) -> Time {
        let slot = &self.slots[slot];
        begun[slot.region].max(slot.started_at.get().copied().unwrap_or_default())
    }

    fn row(&self, slot: usize, report: &NodeReport, error: Option<String>, now: Time) -> DeploymentLog {
        let Slot { region, index, .. } = self.slots[slot];
        let shape = &self.scenario.regions[region];
        let placement = HostPlacement {
            host_id: shape.host_name(index),
            region: shape.name.clone(),
            zone: shape.zone_name(self.plan(slot).zone),
        };
        let begun = self.begun.get().map_or(now, |begun| self.counts_from(slot, begun));
        let ended = self.slots[slot].complete_at.lock().unwrap_or(now);
        deployment_log(&placement, &self.scenario.build.id, ended.since(begun), report, error)
    }
}

/// Writes the row of each host as it is done.
async fn write_logs(
    shared: Arc<FleetShared>,
    mut inbox: mpsc::Receiver<usize>,
    writer: DeploymentLogWriter,
) -> DeploymentLogWriter {
    // A fast host of a worker may be done before the worker has heard when the build was complete.
    while shared.begun.get().is_none() {
        let notified = shared.has_begun.notified();
        if shared.begun.get().is_none() {
            notified.await;
        }
    }
    while let Some(slot) = inbox.recv().await.filter(|slot| *slot != END_OF_LOG) {
        let row = shared.row(slot, &shared.report(slot), None, Time::ZERO);
        writer.write(row).await;
    }
    writer
}

pub(super) async fn start_host(
    shared: &Arc<FleetShared>,
    slot: usize,
    surroundings: &Surroundings,
    finished: &mpsc::Sender<usize>,
) -> Result<(), NodeError> {
    let node = Node::start(
        endpoint_config(shared, slot, surroundings),
        node_config(shared, slot, surroundings, finished),
    )
    .await?;
    let is_first = shared.slots[slot].started_at.set(surroundings.clock.now()).is_ok();
    *shared.slots[slot].node.lock() = Some(Arc::new(node));
    shared.started.fetch_add(usize::from(is_first), Ordering::Relaxed);
    Ok(())
}

/// Every `count`-th host of the fleet.
fn slots(plans: &[RegionPlan], slice: Slice) -> Vec<Slot> {
    let hosts = plans
        .iter()
        .flat_map(|plan| plan.hosts.iter().map(move |host| (plan, host.index)));
    let own = hosts.skip(slice.index as usize).step_by(slice.count as usize);
    own.map(|(plan, index)| {
        let found = plan
            .disturbances
            .binary_search_by_key(&index, |disturbance| disturbance.host);
        let disturbance = found.ok().map(|place| plan.disturbances[place]);
        let stands_still = disturbance.is_some_and(|disturbance| disturbance.what == Trouble::Pause);
        Slot {
            region: plan.region,
            index,
            node: Mutex::new(None),
            started_at: OnceLock::new(),
            complete_at: Mutex::default(),
            was_complete: AtomicBool::new(false),
            last_report: Mutex::default(),
            disturbance,
            standstill: stands_still.then(Standstill::default),
            kept: KeptChunks::default(),
        }
    })
    .collect()
}

/// Adds the bytes of an earlier life of a host. How it used its links then does not count.
const fn add_bytes(traffic: &mut Traffic, earlier: &Traffic) {
    traffic.from_seeder += earlier.from_seeder;
    traffic.from_peers += earlier.from_peers;
    traffic.reused += earlier.reused;
    traffic.wasted += earlier.wasted;
    traffic.sent += earlier.sent;
    traffic.control_sent += earlier.control_sent;
}

fn endpoint_config(shared: &FleetShared, slot: usize, surroundings: &Surroundings) -> EndpointConfig {
    let scenario = &shared.scenario;
    let region = shared.slots[slot].region;
    let plan = shared.plan(slot);
    let identity = NodeIdentity::from_seed(shared.plans[region].seed, plan.id);
    EndpointConfig {
        connections: 4 * u32::from(scenario.swarm.degree) + 16,
        path: surroundings.path.clone(),
        faults: surroundings.paths.clone(),
        standstill: shared.slots[slot].standstill.clone(),
        ..EndpointConfig::at(
            identity,
            transport(scenario, &surroundings.network),
            listen(scenario, region, plan.id),
        )
    }
}

fn node_config(
    shared: &Arc<FleetShared>,
    slot: usize,
    surroundings: &Surroundings,
    finished: &mpsc::Sender<usize>,
) -> NodeConfig {
    let scenario = &shared.scenario;
    let own = &shared.slots[slot];
    let region = own.region;
    let plan = shared.plan(slot);
    let seeders: Vec<Contact> = surroundings.seeders[region].iter().map(contact).collect();
    let (settings, host) = (scenario.swarm.clone(), plan.clone());
    let believed = surroundings.believed.as_ref();
    let verifier = believed.map(|believed| believed.verifier(&scenario.build.id));
    let configure = move |number, address| {
        let base = PeerConfig::with_seeders(number, address, seeders);
        PeerConfig {
            verifier,
            ..settings.peer_config(&host, base)
        }
    };
    NodeConfig {
        swarm: SwarmId::ONLY,
        shaping: shaping(plan.links.as_ref(), &surroundings.downlinks[region]),
        limits: Limits {
            segment: segment(scenario, plan.links.as_ref()),
            ..Limits::default()
        },
        store: store(plan.serves, kept(own.disturbance, &own.kept, &surroundings.pool)),
        role: Role::Host(Box::new(configure)),
        seed: plan.seed,
        clock: surroundings.clock,
        observer: Arc::new(HostObserver {
            shared: Arc::clone(shared),
            slot,
            finished: finished.clone(),
        }),
    }
}

/// Instead of a slot: there are no more.
const END_OF_LOG: usize = usize::MAX;

/// How long hosts may take to find their place, for each thousand of them and at least.
pub(super) fn join_patience(hosts: u32) -> Duration {
    Duration::from_secs(60) + Duration::from_millis(20) * hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use peer::{Answer, StoreOpener};
    use scenario::{Links, LoadOptions, Serves};
    use swarm::Manifest;

    /// With the test of the same name of the simulator: what runs is the fleet that is simulated, host for host.
    #[tokio::test]
    async fn hosts_are_given_to_the_core_as_they_are_planned() {
        let text = "[regions.region-a]\nhosts = 40\nzones = 3\nseeders = 2\n[regions.region-b]\nhosts = 20\n\
                    [build]\nsize = \"1 MiB\"\n\
                    [network.host]\nuplink = \"1 MB/s\"\ndownlink = \"2 MB/s\"\nspread = \"50%\"\n\
                    [faults.bad]\nkind = \"corrupt\"\nhosts = 3\n[faults.lazy]\nkind = \"stall\"\nhosts = 2\n\
                    [faults.gone]\nkind = \"leave\"\nhosts = 4\nat = \"2s\"\n\
                    [faults.liar]\nkind = \"claim\"\nhosts = 2\n[faults.overloaded]\nkind = \"busy\"\nhosts = 1\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        std::fs::write(&path, text).unwrap();
        let scenario = Scenario::load(&path, &LoadOptions::default()).unwrap();
        let plans: Arc<[RegionPlan]> = scenario.plans().into();
        let mut given = Vec::new();
        for index in 0..3 {
            let fleet = fleet(&scenario, &plans, Slice { index, count: 3 }).await;
            assert_eq!(
                fleet.pending(),
                (0..fleet.shared.slots.len())
                    .filter(|slot| fleet.shared.plan(*slot).is_required())
                    .count()
            );
            for slot in 0..fleet.shared.slots.len() {
                let region = fleet.shared.slots[slot].region;
                let plan = fleet.shared.plan(slot);
                let config = node_config(&fleet.shared, slot, &fleet.surroundings, &fleet.finished);
                assert_eq!(config.seed, plan.seed);
                assert_eq!(config.shaping.uplink, plan.links.as_ref().map(Links::uplink));
                assert_eq!(config.shaping.downlink, plan.links.as_ref().map(Links::downlink));
                assert_eq!(serves(&config.store), plan.serves);
                let Role::Host(configure) = config.role else {
                    panic!("a host is a host");
                };
                let core = configure(plan.id, Bytes::new());
                assert_eq!((core.host, core.zone), (plan.id, plan.swarm_zone));
                let seeders = (0..plans[region].seeders.len()).map(seeder_of_test);
                assert!(
                    core.seeders
                        .iter()
                        .map(|seeder| seeder.host)
                        .eq(seeders.map(|seeder| seeder.host()))
                );
                let row = fleet.shared.row(slot, &NodeReport::default(), None, Time::ZERO);
                assert_eq!(row.host_id, scenario.regions[region].host_name(plan.index));
                assert!(row.zone.ends_with(&format!("-zone-{}", plan.zone)), "{}", row.zone);
                given.push((region, plan.clone()));
            }
        }
        given.sort_by_key(|(region, plan)| (*region, plan.index));
        let planned = plans
            .iter()
            .flat_map(|plan| plan.hosts.iter().map(|host| (plan.region, host.clone())));
        assert!(given.into_iter().eq(planned), "every planned host is in one slice");
    }

    /// What the owner of such a store does with requests.
    #[tokio::test]
    async fn hosts_believe_what_the_run_has_signed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        let text = "[regions.region-a]\nhosts = 1\n[build]\nid = \"a.zip\"\nsize = \"1 KiB\"\n";
        std::fs::write(&path, text).unwrap();
        let scenario = Scenario::load(&path, &LoadOptions::default()).unwrap();
        let plans: Arc<[RegionPlan]> = scenario.plans().into();
        let fleet = fleet(&scenario, &plans, Slice { index: 0, count: 1 }).await;
        let config = node_config(&fleet.shared, 0, &fleet.surroundings, &fleet.finished);
        let Role::Host(configure) = config.role else {
            panic!("a host is none");
        };
        let verifier = configure(HostId::new(1), Bytes::new()).verifier.unwrap();
        let manifest = Manifest::of("a.zip", &[7; 1024], 64).unwrap();
        let mut other = scenario.clone();
        other.seed += 1;
        let signed_by = |scenario: &Scenario| swarm::BuildInfo {
            signature: super::super::signed::sign(scenario, &manifest).to_string().into(),
            ..manifest.info()
        };
        assert!(verifier.verify(&manifest.info()).unwrap_err().contains("not signed"));
        assert!(verifier.verify(&signed_by(&other)).unwrap_err().contains("not trusted"));
        assert!(verifier.verify(&signed_by(&scenario)).is_ok());
    }

    fn serves(store: &StoreOpener) -> Serves {
        let build = b"one chunk is enough";
        let manifest = Arc::new(Manifest::of("b", build, 64).unwrap());
        let (store, chunk) = (store.open(Arc::clone(&manifest)).unwrap(), manifest.chunk(0).unwrap());
        let claims = store.held().is_full();
        store.keep(chunk, build.as_slice().into()).unwrap();
        match (store.answer(chunk), store.read(chunk).unwrap() == build.as_slice()) {
            (Answer::Chunk, true) => Serves::Honest,
            (Answer::Chunk, false) => Serves::Corrupt,
            (Answer::Nothing, _) if claims => Serves::Claims,
            (Answer::Nothing, _) => Serves::Nothing,
            (Answer::Busy, _) => Serves::Busy,
        }
    }

    fn seeder_of_test(place: usize) -> NodeIdentity {
        NodeIdentity::from_seed(1, HostId::new(place as u64))
    }

    async fn fleet(scenario: &Scenario, plans: &Arc<[RegionPlan]>, slice: Slice) -> Fleet {
        let address = |seeder: usize| {
            let peer = seeder_of_test(seeder).peer_id();
            format!("/memory/{}/p2p/{peer}", seeder + 1).parse().unwrap()
        };
        let surroundings = Surroundings {
            network: InProcessNetwork::default(),
            path: PathDelay::new(Duration::ZERO),
            paths: None,
            downlinks: plans.iter().map(|_| Downlinks::default()).collect(),
            pool: ChunkPool::default(),
            clock: Clock::start(),
            // Nothing is written: the fleet is not started.
            cloud: CloudConfig {
                s3_endpoint: None,
                dynamodb_endpoint: Some("http://127.0.0.1:1".to_owned()),
                endpoint: None,
                stage: String::new(),
                region: None,
                credentials: Some(cloud::Credentials {
                    access_key_id: "test".to_owned(),
                    secret_access_key: "test".to_owned(),
                }),
            },
            seeders: plans
                .iter()
                .map(|plan| (0..plan.seeders.len()).map(address).collect())
                .collect(),
            believed: Some(Believed::of_run(scenario.seed)),
        };
        Fleet::new(scenario, Arc::clone(plans), slice, surroundings).await
    }
}
