//! A seeder and hosts over real transports, in one process.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, in a module of each"
)]
#![allow(dead_code, reason = "each test file uses the part it needs")]

#[path = "../limit/mod.rs"]
pub mod limit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use limit::Limit;
use parking_lot::Mutex;
use peer::{
    Addresses, ChunkPool, ChunkStore, Clock, EndpointConfig, InProcessNetwork, Limits, Members, MemoryStore, Multiaddr,
    Node, NodeConfig, NodeIdentity, Observer, PathDelay, PathFaults, PeerId, Role, Shaping, StoreError, StoreOpener,
    Traffic, TransportKind,
};
use signing::{Certificate, Member, MemberTerms, Moment, SecretKey, TrustedKeys};
use swarm::{ChunkIndex, Contact, DisconnectReason, HostId, Manifest, Part, PeerConfig, SeederConfig, SwarmId, Time};
use tokio::sync::Notify;

/// The first seeder; others come after all hosts.
const SEEDER: u64 = 0;
const OTHER_SEEDERS: u64 = 1 << 20;

/// What the hosts have reported.
#[derive(Default)]
pub struct Seen {
    pub joined: Mutex<BTreeSet<HostId>>,
    pub complete: Mutex<BTreeMap<HostId, Traffic>>,
    pub complete_at: Mutex<BTreeMap<HostId, Time>>,
    pub failed: Mutex<Vec<String>>,
    pub banned: Mutex<Vec<HostId>>,
    /// How often hosts said that they are complete.
    pub completions: Mutex<usize>,
    pub lost: Mutex<Vec<(HostId, ChunkIndex)>>,
    pub suspected: Mutex<usize>,
    pub news: Notify,
}

impl Observer for Seen {
    fn joined(&self, host: HostId) {
        self.joined.lock().insert(host);
        self.news.notify_one();
    }

    fn complete(&self, host: HostId, at: Time, traffic: Traffic) {
        *self.completions.lock() += 1;
        self.complete_at.lock().insert(host, at);
        self.complete.lock().insert(host, traffic);
        self.news.notify_one();
    }

    fn failed(&self, _host: HostId, error: &StoreError) {
        self.failed.lock().push(error.to_string());
        self.news.notify_one();
    }

    fn chunk_lost(&self, host: HostId, chunk: ChunkIndex, error: &StoreError) {
        assert!(matches!(error, StoreError::Lost { .. }), "{error}");
        self.lost.lock().push((host, chunk));
        self.news.notify_one();
    }

    fn suspected(&self, _host: HostId, _by: HostId, _chunk: u32) {
        *self.suspected.lock() += 1;
        self.news.notify_one();
    }

    fn banned(&self, _host: HostId, other: HostId, _reason: DisconnectReason) {
        self.banned.lock().push(other);
        self.news.notify_one();
    }
}

impl Seen {
    pub async fn eventually(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !done(self) {
                self.news.notified().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(waited.is_ok(), "waited in vain until {what}");
    }
}

/// What the paths between members are like.
#[derive(Default)]
struct Paths {
    delay: Option<PathDelay>,
    faults: Option<PathFaults>,
    /// Whom the member with this identity lets in; everybody where absent.
    members: Option<Letting>,
}

/// Whom the member with an identity lets in.
pub type Letting = Box<dyn Fn(&NodeIdentity) -> Arc<Members>>;

impl Paths {
    fn put_on(&self, endpoint: EndpointConfig) -> EndpointConfig {
        let members = self.members.as_ref().map(|members| members(&endpoint.identity));
        EndpointConfig {
            path: self.delay.clone(),
            faults: self.faults.clone(),
            members,
            ..endpoint
        }
    }
}

pub struct Fleet {
    pub seeders: Vec<(HostId, Node)>,
    pub hosts: BTreeMap<HostId, Node>,
    pub seen: Arc<Seen>,
    pub pool: ChunkPool,
    pub transport: TransportKind,
    paths: Paths,
    shaping: Shaping,
    clock: Clock,
    _limit: Limit,
}

impl Fleet {
    pub async fn start(transport: TransportKind) -> Self {
        Self::with_seeders(transport, 1).await
    }

    pub async fn with_seeders(transport: TransportKind, count: u32) -> Self {
        Self::new(transport, Paths::default(), Shaping::default(), count).await
    }

    /// A fleet whose hosts are `delay` away from each other.
    pub async fn over_a_path(transport: TransportKind, delay: Duration) -> Self {
        let paths = Paths {
            delay: PathDelay::new(delay),
            ..Paths::default()
        };
        Self::new(transport, paths, Shaping::default(), 1).await
    }

    /// A fleet of which every member, the seeder among them, has these links.
    pub async fn shaped(transport: TransportKind, shaping: Shaping) -> Self {
        Self::new(transport, Paths::default(), shaping, 1).await
    }

    /// Likewise, and with connections that `faults` ends.
    pub async fn breakable(transport: TransportKind, shaping: Shaping, faults: PathFaults) -> Self {
        let paths = Paths {
            faults: Some(faults),
            ..Paths::default()
        };
        Self::new(transport, paths, shaping, 1).await
    }

    /// A fleet whose members are certified, and that talks to nobody else.
    pub async fn closed(transport: TransportKind) -> Self {
        let certified = |identity: &NodeIdentity| {
            let certificate = certificate(&key(1), identity.peer_id(), |_| {});
            let keys = TrustedKeys::of([key(1).public()]);
            Arc::new(Members::of(identity.peer_id(), keys, certificate).unwrap())
        };
        Self::letting_in(transport, Shaping::default(), Box::new(certified)).await
    }

    /// A fleet whose members let in whom that says.
    pub async fn letting_in(transport: TransportKind, shaping: Shaping, members: Letting) -> Self {
        let paths = Paths {
            members: Some(members),
            ..Paths::default()
        };
        Self::new(transport, paths, shaping, 1).await
    }

    async fn new(transport: TransportKind, paths: Paths, shaping: Shaping, count: u32) -> Self {
        let (seen, clock) = (Arc::new(Seen::default()), Clock::start());
        let pool = ChunkPool::default();
        let mut seeders = Vec::new();
        for index in 0..count {
            let place = match index {
                0 => SEEDER,
                index => OTHER_SEEDERS + u64::from(index),
            };
            let host = member(place);
            let part = Part::new(index, count).unwrap();
            let seeder = Node::start(
                paths.put_on(endpoint(&transport, place, None)),
                NodeConfig {
                    swarm: SwarmId::ONLY,
                    shaping: shaping.clone(),
                    limits: limits(),
                    store: StoreOpener::in_memory(pool.clone()),
                    role: Role::Seeder(SeederConfig {
                        part,
                        ..SeederConfig::new(host)
                    }),
                    seed: 1,
                    clock,
                    observer: Arc::<Seen>::clone(&seen),
                },
            )
            .await
            .unwrap();
            seeders.push((host, seeder));
        }
        Self {
            seeders,
            hosts: BTreeMap::new(),
            seen,
            pool,
            transport,
            paths,
            shaping,
            clock,
            _limit: Limit::start(None),
        }
    }

    pub async fn add(&mut self, number: u64, store: StoreOpener) {
        self.add_knowing(number, store, Vec::new()).await;
    }

    /// A host whose list of seeders begins with one that is gone.
    pub async fn add_with_lost_seeder(&mut self, number: u64, address: &[u8]) {
        let lost = Contact {
            host: seeder(),
            address: address.to_vec().into(),
        };
        let store = StoreOpener::in_memory(self.pool.clone());
        self.add_knowing(number, store, vec![lost]).await;
    }

    async fn add_knowing(&mut self, number: u64, store: StoreOpener, mut seeders: Vec<Contact>) {
        let host = member(number);
        let contact = |(host, seeder): &(HostId, Node)| Contact {
            host: *host,
            address: Addresses::of([&seeder.address()]).unwrap().encode(),
        };
        seeders.extend(self.seeders.iter().map(contact));
        let node = Node::start(
            self.paths.put_on(endpoint(&self.transport, number, None)),
            NodeConfig {
                swarm: SwarmId::ONLY,
                shaping: self.shaping.clone(),
                limits: limits(),
                store,
                role: Role::Host(Box::new(move |host, address| {
                    PeerConfig::with_seeders(host, address, seeders)
                })),
                seed: number,
                clock: self.clock,
                observer: Arc::<Seen>::clone(&self.seen),
            },
        )
        .await
        .unwrap();
        self.hosts.insert(host, node);
    }

    pub async fn add_many(&mut self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.add(number, StoreOpener::in_memory(self.pool.clone())).await;
        }
    }

    /// The run's time.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    pub fn seed(&self, data: &[u8], chunk_size: u32) -> Arc<Manifest> {
        let manifest = Arc::new(Manifest::of("build-1.zip", data, chunk_size).unwrap());
        let store = MemoryStore::new(self.pool.clone(), Arc::clone(&manifest));
        for (chunk, bytes) in manifest.chunks().zip(data.chunks(chunk_size as usize)) {
            store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
        }
        self.seed_from(&manifest, Arc::new(store));
        manifest
    }

    pub fn seed_from(&self, manifest: &Arc<Manifest>, store: Arc<dyn ChunkStore>) {
        for (_, seeder) in &self.seeders {
            seeder.seed(Arc::clone(manifest), Arc::clone(&store));
        }
    }

    /// Waits until `done` holds; the limit is for a hang, not a measure.
    pub async fn wait(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let waiting = async {
            while !done(&self.seen) {
                self.seen.news.notified().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), waiting).await.is_err() {
            let reports: Vec<_> = self.hosts.iter().map(|(host, node)| (host, node.report())).collect();
            panic!("waited in vain until {what}: {reports:#?}");
        }
    }

    pub async fn wait_joined(&self, count: usize) {
        self.wait("all joined", |seen| seen.joined.lock().len() >= count).await;
    }

    pub async fn wait_complete(&self, count: usize) {
        self.wait("all complete", |seen| seen.complete.lock().len() >= count)
            .await;
    }
}

/// A key that certifies; those of closed fleets are by the first.
pub fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

/// A certificate of `peer`, for an hour from now unless it is changed.
pub fn certificate(key: &SecretKey, peer: PeerId, change: impl FnOnce(&mut MemberTerms)) -> Certificate {
    let now = Moment::now();
    let mut terms = MemberTerms {
        peer: peer.to_base58(),
        host: "host-1".to_owned(),
        zone: None,
        groups: Vec::new(),
        addresses: Vec::new(),
        not_before: now,
        not_after: now.plus(Duration::from_secs(3600)),
    };
    change(&mut terms);
    key.certify(Member::new(terms).unwrap())
}

/// The number of the member at this place of a test's swarm.
pub fn member(place: u64) -> HostId {
    identity(place).host()
}

/// The number of the first seeder.
pub fn seeder() -> HostId {
    member(SEEDER)
}

pub fn identity(place: u64) -> NodeIdentity {
    NodeIdentity::from_seed(1, HostId::new(place))
}

/// Where a member of a test's swarm listens.
pub fn endpoint(transport: &TransportKind, place: u64, path: Option<PathDelay>) -> EndpointConfig {
    EndpointConfig {
        path,
        ..EndpointConfig::at(identity(place), transport.clone(), listen(transport, place))
    }
}

fn limits() -> Limits {
    Limits {
        segment: SEGMENT,
        ..Limits::default()
    }
}

/// Small parts, so that links are shared as finely as in a run.
pub const SEGMENT: u32 = 8 << 10;

pub fn listen(transport: &TransportKind, place: u64) -> Multiaddr {
    match transport {
        TransportKind::InProcess(_) => format!("/memory/{}", place + 1),
        TransportKind::Memory => "/memory/0".to_owned(),
        TransportKind::Tcp | TransportKind::TcpStreams | TransportKind::TcpNoise => "/ip4/127.0.0.1/tcp/0".to_owned(),
        TransportKind::Quic => "/ip4/127.0.0.1/udp/0/quic-v1".to_owned(),
    }
    .parse()
    .unwrap()
}

pub fn in_process() -> TransportKind {
    TransportKind::InProcess(InProcessNetwork::default())
}

/// A build whose chunks all differ.
pub fn data(length: usize) -> Vec<u8> {
    let words = (0_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).take(length).collect()
}
