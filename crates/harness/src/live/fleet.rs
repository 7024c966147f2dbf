//! Real hosts in this process: all of a run's, or a worker's part. Starts them, carries out their faults, notes when each
//! is done and writes its deployment log.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cloud::{Cloud, CloudConfig, DeploymentLog, DeploymentLogWriter};
use parking_lot::Mutex;
use peer::{
    ChunkPool, Clock, HostPlacement, InProcessNetwork, Limits, Multiaddr, Node, NodeConfig, NodeError, NodeIdentity,
    NodeReport, Observer, Role, Shaping, StoreError, StoreKind, Traffic, TransportKind, deployment_log,
};
use scenario::{HostOutcome, HostRole, HostState, Links, Scenario, Transport};
use serde::{Deserialize, Serialize};
use swarm::{Contact, DisconnectReason, HostId, PeerConfig, PeerStats, Time};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

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
    pub(crate) pool: ChunkPool,
    pub(crate) clock: Clock,
    pub(crate) cloud: CloudConfig,
    /// Addresses of each region's seeders.
    pub(crate) seeders: Vec<Vec<Multiaddr>>,
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
    /// Useful bytes of hosts that are done.
    pub(crate) bytes: u64,
    /// Useful bytes in the end.
    pub(crate) bytes_expected: u64,
    /// CPU seconds of the process.
    pub(crate) cpu_seconds: f64,
}

/// What a fleet has come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FleetResult {
    pub(crate) outcomes: Vec<HostOutcome>,
    /// Members that were banned for what they sent, by how many others, as region and host index.
    pub(crate) banned: Vec<(usize, u32)>,
    pub(crate) protocol: ProtocolCounts,
    pub(crate) rows_written: u64,
    pub(crate) rows_unprocessed: u64,
    pub(crate) rows_failed: Vec<String>,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) cpu_seconds: f64,
}

/// What the hosts' protocol did, in all.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProtocolCounts {
    pub(crate) requests: u64,
    /// Of them to a second neighbour, before anybody had begun.
    pub(crate) requests_tied: u64,
    /// Of them to a second neighbour, because the first was slow with one of the last chunks.
    pub(crate) requests_hedged: u64,
    /// Of them without progress for longer than usual.
    pub(crate) requests_overdue: u64,
    pub(crate) requests_rejected: u64,
    pub(crate) chunks_corrupt: u64,
    pub(crate) have_messages: u64,
    /// Chunks that hosts with a zone fetched from another.
    pub(crate) chunks_imported: u64,
}

impl ProtocolCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.requests_tied += other.requests_tied;
        self.requests_hedged += other.requests_hedged;
        self.requests_overdue += other.requests_overdue;
        self.requests_rejected += other.requests_rejected;
        self.chunks_corrupt += other.chunks_corrupt;
        self.have_messages += other.have_messages;
        self.chunks_imported += other.chunks_imported;
    }
}

impl From<PeerStats> for ProtocolCounts {
    fn from(stats: PeerStats) -> Self {
        Self {
            requests: stats.requests_sent,
            requests_tied: stats.requests_tied,
            requests_hedged: stats.requests_hedged,
            requests_overdue: stats.requests_overdue,
            requests_rejected: stats.requests_rejected,
            chunks_corrupt: stats.chunks_corrupt,
            have_messages: stats.haves_sent,
            chunks_imported: stats.chunks_imported,
        }
    }
}

/// Hosts of this process.
pub(crate) struct Fleet {
    shared: Arc<FleetShared>,
    surroundings: Surroundings,
    faults: Vec<JoinHandle<()>>,
    log: JoinHandle<DeploymentLogWriter>,
    finished: mpsc::Sender<usize>,
}

struct FleetShared {
    scenario: Scenario,
    slots: Vec<Slot>,
    started: AtomicUsize,
    joined: AtomicUsize,
    done: Vec<AtomicU32>,
    failed: Mutex<Vec<(usize, String)>>,
    banned: Mutex<Vec<(usize, u32)>>,
    bytes: AtomicU64,
    /// When the build was complete in each region's bucket.
    begun: OnceLock<Vec<Time>>,
    has_begun: Notify,
}

struct Slot {
    region: usize,
    index: u32,
    role: HostRole,
    links: Option<Links>,
    node: Mutex<Option<Arc<Node>>>,
    started_at: OnceLock<Time>,
    complete_at: OnceLock<Time>,
    /// What it had come to when it left.
    last_report: OnceLock<NodeReport>,
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

    fn complete(&self, _host: HostId, at: Time, traffic: Traffic) {
        let slot = &self.shared.slots[self.slot];
        if slot.complete_at.set(at).is_ok() {
            self.shared.done[slot.region].fetch_add(1, Ordering::Relaxed);
            self.shared
                .bytes
                .fetch_add(traffic.from_seeder + traffic.from_peers, Ordering::Relaxed);
            // There is room for every host of the fleet.
            let _ = self.finished.try_send(self.slot);
        }
    }

    fn failed(&self, _host: HostId, error: &StoreError) {
        self.shared.failed.lock().push((self.slot, crate::exit::chain(error)));
    }

    fn banned(&self, _host: HostId, other: HostId, _reason: DisconnectReason) {
        let region = self.shared.slots[self.slot].region;
        let index = u32::try_from(other.get().saturating_sub(1)).unwrap_or(u32::MAX);
        self.shared.banned.lock().push((region, index));
    }
}

impl Fleet {
    /// A fleet that is not started.
    pub(crate) async fn new(scenario: &Scenario, slice: Slice, surroundings: Surroundings) -> Self {
        let roles: Vec<Vec<HostRole>> = (0..scenario.regions.len())
            .map(|region| scenario.roles(region))
            .collect();
        let mut slots = Vec::new();
        let mut number = 0;
        for (region, roles) in roles.iter().enumerate() {
            let links = scenario.host_links(region);
            for (index, role) in (0..).zip(roles) {
                if number % slice.count == slice.index {
                    slots.push(Slot {
                        region,
                        index,
                        role: *role,
                        links: links.as_ref().map(|links| links[index as usize]),
                        node: Mutex::new(None),
                        started_at: OnceLock::new(),
                        complete_at: OnceLock::new(),
                        last_report: OnceLock::new(),
                    });
                }
                number += 1;
            }
        }
        let (finished, inbox) = mpsc::channel(slots.len() + 1);
        let shared = Arc::new(FleetShared {
            scenario: scenario.clone(),
            started: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            done: scenario.regions.iter().map(|_| AtomicU32::new(0)).collect(),
            failed: Mutex::default(),
            banned: Mutex::default(),
            bytes: AtomicU64::new(0),
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
            log,
            finished,
        }
    }

    /// Starts the hosts that are there from the beginning.
    pub(crate) async fn start(&self) -> Result<(), NodeError> {
        for slot in 0..self.shared.slots.len() {
            if !matches!(self.shared.slots[slot].role, HostRole::JoinLate(_)) {
                start_host(&self.shared, slot, &self.surroundings, &self.finished).await?;
            }
        }
        Ok(())
    }

    /// The build is complete in the regional buckets, at these times: what the latencies and the faults count from.
    pub(crate) fn begin(&mut self, complete_at: Vec<Time>) {
        let clock = self.surroundings.clock;
        for (index, slot) in self.shared.slots.iter().enumerate() {
            let (HostRole::Leave(after) | HostRole::JoinLate(after)) = slot.role else {
                continue;
            };
            let due = complete_at[slot.region] + after;
            let wait = due.since(clock.now());
            let (shared, surroundings) = (Arc::clone(&self.shared), self.surroundings.clone());
            let finished = self.finished.clone();
            self.faults.push(tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                let slot = &shared.slots[index];
                if matches!(slot.role, HostRole::JoinLate(_)) {
                    if let Err(error) = start_host(&shared, index, &surroundings, &finished).await {
                        shared.failed.lock().push((index, crate::exit::chain(&error)));
                    }
                } else if let Some(node) = slot.node.lock().take() {
                    let _ = slot.last_report.set(node.report());
                    node.stop();
                }
            }));
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
            bytes: shared.bytes.load(Ordering::Relaxed),
            bytes_expected: shared.slots.len() as u64 * shared.scenario.build_size().get(),
            cpu_seconds: crate::machine::cpu_seconds(),
        }
    }

    fn pending(&self) -> usize {
        let excused = |slot: &Slot| matches!(slot.role, HostRole::Leave(_) | HostRole::Corrupt);
        let failed: BTreeSet<usize> = self.shared.failed.lock().iter().map(|(slot, _)| *slot).collect();
        let slots = self.shared.slots.iter().enumerate();
        let open = slots.filter(|(_, slot)| !excused(slot) && slot.complete_at.get().is_none());
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
        let mut protocol = PeerStats::default();
        for slot in &self.shared.slots {
            if let Some(node) = slot.node.lock().take() {
                protocol.add(&node.peer_stats().unwrap_or_default());
                node.stop();
            }
        }
        let mut result = FleetResult {
            protocol: protocol.into(),
            outcomes,
            banned: std::mem::take(&mut self.shared.banned.lock()),
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
    fn outcome(&self, slot: usize, begun: Option<&[Time]>) -> HostOutcome {
        let Slot {
            region, index, role, ..
        } = self.slots[slot];
        let report = self.report(slot);
        let since = begun.map(|begun| self.counts_from(slot, begun));
        let verified_after = self.slots[slot]
            .complete_at
            .get()
            .zip(since)
            .map(|(at, since)| at.since(since));
        let failed = self
            .failed
            .lock()
            .iter()
            .find(|(other, _)| *other == slot)
            .map(|(_, error)| error.clone());
        let excused = matches!(role, HostRole::Leave(_) | HostRole::Corrupt);
        let state = match (verified_after, failed) {
            (Some(_), _) => HostState::Verified,
            (None, Some(error)) => HostState::Failed(error),
            (None, None) if excused => HostState::Excused,
            (None, None) => HostState::Pending,
        };
        HostOutcome {
            region,
            host: index,
            state,
            verified_after,
            bytes_from_seeder: report.traffic.from_seeder,
            bytes_from_peers: report.traffic.from_peers,
            bytes_wasted: report.traffic.wasted,
            bytes_control: report.traffic.control_sent,
            chunks_held: report.chunks_held,
            chunks_total: report.chunks_total,
            chunks_without_source: u32::try_from(report.chunks_without_source).unwrap_or(u32::MAX),
            neighbours: u32::try_from(report.neighbours).unwrap_or(u32::MAX),
        }
    }

    fn report(&self, slot: usize) -> NodeReport {
        let slot = &self.slots[slot];
        let live = slot.node.lock().as_ref().map(|node| node.report());
        live.or_else(|| slot.last_report.get().cloned()).unwrap_or_default()
    }

    /// A late joiner's latency counts from when it came.
    fn counts_from(&self, slot: usize, begun: &[Time]) -> Time {
        let slot = &self.slots[slot];
        begun[slot.region].max(slot.started_at.get().copied().unwrap_or_default())
    }

    fn row(&self, slot: usize, report: &NodeReport, error: Option<String>, now: Time) -> DeploymentLog {
        let Slot { region, index, .. } = self.slots[slot];
        let name = &self.scenario.regions[region].name;
        let zone = index % self.scenario.regions[region].zones;
        let placement = HostPlacement {
            host_id: format!("{name}-{index:06}"),
            region: name.clone(),
            zone: format!("{name}-zone-{zone}"),
        };
        let begun = self.begun.get().map_or(now, |begun| self.counts_from(slot, begun));
        let ended = self.slots[slot].complete_at.get().copied().unwrap_or(now);
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

async fn start_host(
    shared: &Arc<FleetShared>,
    slot: usize,
    surroundings: &Surroundings,
    finished: &mpsc::Sender<usize>,
) -> Result<(), NodeError> {
    let scenario = &shared.scenario;
    let Slot {
        region,
        index,
        role,
        links,
        ..
    } = shared.slots[slot];
    let host = scenario.regions[region].host_id(index);
    let addresses = surroundings.seeders[region].iter();
    let seeders = scenario.regions[region].seeder_ids().zip(addresses);
    let seeders: Vec<Contact> = seeders
        .map(|(host, address)| Contact {
            host,
            address: address.to_vec().into(),
        })
        .collect();
    let settings = scenario.swarm.clone();
    let zones = scenario.zones_of(region);
    let zone = zones.get(index as usize % zones.len().max(1)).copied();
    let configure = move |address: Vec<u8>| PeerConfig {
        zone,
        ..settings.peer_config(PeerConfig::with_seeders(host, address.into(), seeders))
    };
    let pool = surroundings.pool.clone();
    let seed = scenario.seed ^ ((region as u64 + 1) << 40);
    let node = Node::start(NodeConfig {
        identity: NodeIdentity::from_seed(seed, host),
        host,
        transport: transport(scenario, &surroundings.network),
        listen: listen(scenario, region, host),
        advertise: None,
        shaping: shaping(links.as_ref()),
        limits: Limits {
            connections: 4 * u32::from(scenario.swarm.degree) + 16,
            segment: segment(scenario),
            ..Limits::default()
        },
        store: match role {
            HostRole::Corrupt => StoreKind::CorruptMemory(pool),
            HostRole::Stall => StoreKind::StallingMemory(pool),
            HostRole::Healthy | HostRole::Leave(_) | HostRole::JoinLate(_) => StoreKind::Memory(pool),
        },
        role: Role::Host(Box::new(configure)),
        seed: seed.wrapping_add(host.get().wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        clock: surroundings.clock,
        observer: Arc::new(HostObserver {
            shared: Arc::clone(shared),
            slot,
            finished: finished.clone(),
        }),
    })
    .await?;
    let _ = shared.slots[slot].started_at.set(surroundings.clock.now());
    *shared.slots[slot].node.lock() = Some(Arc::new(node));
    shared.started.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Instead of a slot: there are no more.
const END_OF_LOG: usize = usize::MAX;

pub(super) fn transport(scenario: &Scenario, network: &InProcessNetwork) -> TransportKind {
    match scenario.network.transport {
        Transport::InProcess => TransportKind::InProcess(network.clone()),
        Transport::Memory => TransportKind::Memory,
        Transport::Tcp => TransportKind::Tcp,
        Transport::Quic => TransportKind::Quic,
    }
}

pub(super) fn listen(scenario: &Scenario, region: usize, host: HostId) -> Multiaddr {
    let number = (region as u64 + 1) << 40 | (host.get() + 1);
    let address = match scenario.network.transport {
        Transport::InProcess | Transport::Memory => format!("/memory/{number}"),
        Transport::Tcp => "/ip4/127.0.0.1/tcp/0".to_owned(),
        Transport::Quic => "/ip4/127.0.0.1/udp/0/quic-v1".to_owned(),
    };
    address.parse().expect("written as a multiaddr above")
}

pub(super) fn shaping(links: Option<&Links>) -> Shaping {
    Shaping {
        uplink: links.map(Links::uplink),
        downlink: links.map(Links::downlink),
    }
}

/// On slow links a chunk goes in a few parts, so that transfers share a link without each waiting for whole chunks; flat
/// out every part costs time.
pub(super) fn segment(scenario: &Scenario) -> u32 {
    let most = 64 << 10;
    match scenario.network.host {
        Some(_) => (scenario.chunk_size() / SEGMENTS_PER_CHUNK).clamp(4 << 10, most),
        None => most,
    }
}

/// Parts of a chunk on shaped links.
const SEGMENTS_PER_CHUNK: u32 = 2;

/// How long hosts may take to find their place, for each thousand of them and at least.
pub(super) fn join_patience(hosts: u32) -> Duration {
    Duration::from_secs(60) + Duration::from_millis(20) * hosts
}
