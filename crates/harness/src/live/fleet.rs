//! Real hosts in this process: all of a run's, or a worker's part. Starts them, carries out their faults, notes when each
//! is done and writes its deployment log.

mod configs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cloud::DeploymentLog;
use explain::{Recorder, Sample};
use parking_lot::Mutex;
use peer::{
    ChunkPool, Clock, Downlinks, HostPlacement, Multiaddr, Node, NodeError, NodeIdentity, NodeReport, Observer,
    PathDelay, PathFaults, Standstill, StoreError, Traffic, deployment_log,
};
use scenario::{Disturbance, FaultCounts, HostOutcome, HostPlan, HostState, RegionPlan, Scenario, Trouble};
use serde::{Deserialize, Serialize};
use swarm::{Action, DisconnectReason, Event, HostId, PeerStats, Time};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::disturbances::{Disturbed, KeptChunks};
use super::held::{Held, stride};
use super::membership::Certifier;
use super::node_parts::Place;
use super::protocol::Spent;
use super::recorded::RecordedHost;
use super::rows::{Rows, RowsTo};
use super::signed::Believed;
use super::told::{HostTimes, HostTold, TOLD_AT_ONCE};
use crate::machine::ProcessLoad;
use configs::{endpoint_config, node_config};

/// Which hosts: every `count`-th from `index` on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Slice {
    pub(crate) index: u32,
    pub(crate) count: u32,
}

impl Slice {
    /// Its hosts, with the indices of their regions.
    pub(super) fn of(self, plans: &[RegionPlan]) -> impl Iterator<Item = (usize, &HostPlan)> {
        let hosts = plans
            .iter()
            .flat_map(|plan| plan.hosts.iter().map(|host| (plan.region, host)));
        hosts.skip(self.index as usize).step_by(self.count as usize)
    }
}

/// Where a fleet is connected to.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// Where its members listen.
    pub(crate) place: Place,
    /// The scenario's latency, which the machine does not have by itself.
    pub(crate) path: Option<PathDelay>,
    /// Where paths may break, or let nothing pass.
    pub(crate) paths: Option<PathFaults>,
    /// Of each region's members in this process.
    pub(crate) downlinks: Vec<Downlinks>,
    pub(crate) pool: ChunkPool,
    pub(crate) clock: Clock,
    /// Where deployment logs go.
    pub(crate) rows: RowsTo,
    /// Addresses of each region's seeders.
    pub(crate) seeders: Vec<Vec<Multiaddr>>,
    /// Whose builds are believed; every seeder's where absent.
    pub(crate) believed: Option<Believed>,
    /// Who certifies members; everybody is let in where absent.
    pub(crate) certifier: Option<Certifier>,
    /// Which chunks are recorded of each host; nothing is where absent.
    pub(crate) recorded: Option<Sample>,
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
    /// Hosts that are expected to get the build and are neither done nor failed.
    pub(crate) pending: usize,
    /// What hosts hold, by region.
    pub(crate) held: Vec<Held>,
}

/// What a fleet has come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FleetResult {
    pub(crate) outcomes: Vec<HostOutcome>,
    /// Of each of them.
    pub(crate) times: Vec<HostTimes>,
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
    /// By its worker.
    pub(crate) spent: Spent,
    /// How it was for the process, and what its hosts' links let through.
    pub(crate) load: ProcessLoad,
    /// What passed at the hosts' cores, where that was recorded.
    pub(crate) records: Vec<RecordedHost>,
    /// How long the table of deployment logs took to have all rows, after the last of them was written.
    pub(crate) rows_after: Duration,
}

/// Hosts of this process.
pub(crate) struct Fleet {
    shared: Arc<FleetShared>,
    surroundings: Surroundings,
    faults: Vec<JoinHandle<()>>,
    held: Mutex<(Option<Instant>, Vec<Held>)>,
    log: JoinHandle<Rows>,
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
    /// Slots of hosts of which nobody was told since they were done, or not done any more.
    news: Mutex<BTreeSet<usize>>,
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
    recorder: Option<Mutex<Recorder>>,
}

impl Slot {
    fn times(&self) -> HostTimes {
        HostTimes {
            started: self.started_at.get().map(|at| at.as_nanos()),
            complete: self.complete_at.lock().map(Time::as_nanos),
        }
    }
}

struct HostObserver {
    clock: Clock,
    shared: Arc<FleetShared>,
    slot: usize,
    finished: mpsc::Sender<usize>,
}

impl Observer for HostObserver {
    fn event(&self, _host: HostId, at: Time, event: &Event) {
        if Recorder::wants_event(event)
            && let Some(recorder) = &self.shared.slots[self.slot].recorder
        {
            recorder.lock().event(0, at, event);
        }
    }

    fn action(&self, _host: HostId, action: &Action) {
        if Recorder::wants_action(action)
            && let Some(recorder) = &self.shared.slots[self.slot].recorder
        {
            recorder.lock().action(0, self.clock.now(), action);
        }
    }

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
        self.shared.news.lock().insert(self.slot);
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
        let slots = slots(&plans, slice, surroundings.recorded.as_ref());
        let (finished, inbox) = mpsc::channel(slots.len() + 1);
        let shared = Arc::new(FleetShared {
            scenario: scenario.clone(),
            plans,
            started: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            done: scenario.regions.iter().map(|_| AtomicU32::new(0)).collect(),
            failed: Mutex::default(),
            banned: Mutex::default(),
            news: Mutex::default(),
            protocol: Mutex::default(),
            faults: Mutex::default(),
            begun: OnceLock::new(),
            has_begun: Notify::new(),
            slots,
        });
        let rows = surroundings.rows.open().await;
        let log = tokio::spawn(write_logs(Arc::clone(&shared), inbox, rows));
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

    /// What has become of hosts since this was last asked.
    pub(crate) fn news(&self) -> Vec<HostTold> {
        let slots = std::mem::take(&mut *self.shared.news.lock());
        let begun = self.shared.begun.get().map(Vec::as_slice);
        let told = |slot| HostTold {
            outcome: self.shared.outcome(slot, begun),
            times: self.shared.slots[slot].times(),
        };
        slots.into_iter().map(told).collect()
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
                HostState::Verified | HostState::Lost | HostState::Excused => return None,
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
            records: self.shared.records(&outcomes),
            times: self.shared.slots.iter().map(Slot::times).collect(),
            outcomes,
            faults: *self.shared.faults.lock(),
            banned: self.shared.banned_places(),
            load,
            ..FleetResult::default()
        };
        if begun.is_some() {
            // Behind the last host that was done; there is room for it.
            let _ = self.finished.try_send(END_OF_LOG);
            if let Ok(rows) = self.log.await {
                rows.write(unfinished).await;
                let written = rows.finish().await;
                result.rows_after = self.surroundings.clock.now().since(now);
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

    /// What was recorded of each host.
    fn records(&self, outcomes: &[HostOutcome]) -> Vec<RecordedHost> {
        let hosts = self.slots.iter().zip(outcomes).filter_map(|(slot, outcome)| {
            let recorder = slot.recorder.as_ref()?.lock();
            let came_at = self.plans[slot.region].hosts[slot.index as usize]
                .join_at
                .and_then(|_late| slot.started_at.get());
            Some(RecordedHost::new(
                &recorder,
                outcome,
                came_at.copied(),
                *slot.complete_at.lock(),
            ))
        });
        hosts.collect()
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
    pub(super) fn is_not_done(&self, index: usize) {
        let slot = &self.slots[index];
        if slot.complete_at.lock().take().is_some() {
            self.done[slot.region].fetch_sub(1, Ordering::Relaxed);
            self.news.lock().insert(index);
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
async fn write_logs(shared: Arc<FleetShared>, mut inbox: mpsc::Receiver<usize>, rows: Rows) -> Rows {
    // A fast host of a worker may be done before the worker has heard when the build was complete.
    while shared.begun.get().is_none() {
        let notified = shared.has_begun.notified();
        if shared.begun.get().is_none() {
            notified.await;
        }
    }
    let mut slots = Vec::new();
    while !slots.contains(&END_OF_LOG) {
        slots.clear();
        if inbox.recv_many(&mut slots, TOLD_AT_ONCE).await == 0 {
            break;
        }
        let done = slots.iter().filter(|slot| **slot != END_OF_LOG);
        let row = |slot: &usize| shared.row(*slot, &shared.report(*slot), None, Time::ZERO);
        rows.write(done.map(row).collect()).await;
    }
    rows
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
fn slots(plans: &[RegionPlan], slice: Slice, recorded: Option<&Sample>) -> Vec<Slot> {
    let of_slice = |(region, host): (usize, &HostPlan)| {
        let (plan, index) = (&plans[region], host.index);
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
            recorder: recorded.map(|sample| Mutex::new(Recorder::new(sample.clone(), 1))),
        }
    };
    slice.of(plans).map(of_slice).collect()
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

/// Instead of a slot: there are no more.
const END_OF_LOG: usize = usize::MAX;

/// How long hosts may take to find their place, for each thousand of them and at least.
pub(super) fn join_patience(hosts: u32) -> Duration {
    Duration::from_secs(60) + Duration::from_millis(20) * hosts
}

#[cfg(test)]
mod tests;
