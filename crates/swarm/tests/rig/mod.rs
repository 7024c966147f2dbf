//! A whole swarm in one test: state machines joined by delays and link rates, stepping from event to event in virtual
//! time. Not a model to forecast with; just enough network to see the protocol work, and to break it.
//!
//! A chunk occupies its sender's uplink and its receiver's downlink, in pieces, so that concurrent transfers share them.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, in a module of each"
)]
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use swarm::{
    Action, Bitfield, ByteRate, Bytes, ChunkIndex, Contact, Event, Hash, HostId, Manifest, Message, Peer, PeerConfig,
    Seeder, SeederConfig, Time,
    lower_bound::{BoundedHost, BoundedSeeder, BoundedSwarm},
};

pub const SEEDER: HostId = HostId::new(0);

/// What the network and the members of a [`Mesh`] are like.
pub struct Shape {
    pub hosts: u64,
    pub chunks: u32,
    pub chunk_size: u32,
    pub uplink: ByteRate,
    pub downlink: ByteRate,
    pub latency: Duration,
    /// Share of control messages that get lost, in percent.
    pub loss_percent: u32,
    pub seed: u64,
    pub peer: fn(&mut PeerConfig),
    pub seeder: fn(&mut SeederConfig),
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            hosts: 20,
            chunks: 16,
            chunk_size: 64 << 10,
            uplink: ByteRate::from_bytes_per_second(1 << 20).unwrap(),
            downlink: ByteRate::from_bytes_per_second(1 << 20).unwrap(),
            latency: Duration::from_millis(1),
            loss_percent: 0,
            seed: 1,
            peer: |_| {},
            seeder: |_| {},
        }
    }
}

/// How a host misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every chunk it sends is corrupt.
    Corrupt,
    /// It takes requests and never sends.
    Stall,
    /// It gives up on whatever it is to send, and goes on saying that it has it.
    GiveUp,
}

/// A swarm in virtual time.
pub struct Mesh {
    pub now: Time,
    pub seeder: Seeder,
    pub peers: BTreeMap<HostId, Peer>,
    pub completed_at: BTreeMap<HostId, Time>,
    pub faults: BTreeMap<HostId, Fault>,
    /// Chunks whose bytes are gone where they were held. They show when they are to be sent.
    pub gone: BTreeSet<(HostId, ChunkIndex)>,
    /// Chunks on their way of which a part was thrown away: by whom, to whom, and which.
    pub broken: BTreeSet<(HostId, HostId, ChunkIndex)>,
    /// Times that a chunk was found to be gone.
    pub losses: u64,
    /// Times that the seeder was suspected.
    pub suspected: u64,
    pub manifest: Arc<Manifest>,
    pub started_at: Time,
    /// Payload bytes sent by each member.
    pub sent: BTreeMap<HostId, u64>,
    /// Payload bytes that arrived and were thrown away.
    pub wasted: u64,
    pub messages: u64,
    /// Requests that the seeder turned down.
    pub refused: u64,
    shape: Shape,
    rng: Xoshiro256PlusPlus,
    queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    events: Vec<Option<(HostId, Input)>>,
    free: Vec<usize>,
    order: u64,
    connections: BTreeSet<(HostId, HostId)>,
    /// Ends of connections that have gone without a word: who learns of it when it next sends, and whose other end has gone.
    unaware: BTreeSet<(HostId, HostId)>,
    /// Hosts that reach nobody but the seeder, and nobody but the seeder reaches.
    apart: BTreeSet<HostId>,
    uplinks: BTreeMap<HostId, Uplink>,
    downlink_free: BTreeMap<HostId, Time>,
    wakeups: BTreeMap<HostId, Time>,
}

enum Input {
    Event(Event),
    /// The sender's uplink has sent its current piece.
    PieceSent,
    /// A piece of a chunk has passed the receiver's downlink.
    PieceArrived {
        from: HostId,
        chunk: ChunkIndex,
        last: bool,
    },
    Dial(HostId),
}

/// Chunks a member is sending, piece by piece in turn.
#[derive(Default)]
struct Uplink {
    serving: Vec<(HostId, ChunkIndex, u32)>,
    next: usize,
    busy: bool,
}

const PIECES: u32 = 4;

impl Mesh {
    pub fn new(shape: Shape) -> Self {
        let hashes = (0..shape.chunks).map(|c| Hash::of(&c.to_le_bytes())).collect();
        let size = Bytes::new(u64::from(shape.chunks) * u64::from(shape.chunk_size));
        let manifest = Manifest::new("build-1.zip", size, shape.chunk_size, hashes).unwrap();
        let mut config = SeederConfig::new(SEEDER);
        (shape.seeder)(&mut config);
        let mut mesh = Self {
            now: Time::ZERO,
            seeder: Seeder::new(config, shape.seed, Time::ZERO),
            peers: BTreeMap::new(),
            completed_at: BTreeMap::new(),
            faults: BTreeMap::new(),
            gone: BTreeSet::new(),
            broken: BTreeSet::new(),
            losses: 0,
            suspected: 0,
            manifest: Arc::new(manifest),
            started_at: Time::ZERO,
            sent: BTreeMap::new(),
            wasted: 0,
            messages: 0,
            refused: 0,
            rng: Xoshiro256PlusPlus::seed_from_u64(shape.seed),
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            order: 0,
            connections: BTreeSet::new(),
            unaware: BTreeSet::new(),
            apart: BTreeSet::new(),
            uplinks: BTreeMap::new(),
            downlink_free: BTreeMap::new(),
            wakeups: BTreeMap::new(),
            shape,
        };
        for host in 1..=mesh.shape.hosts {
            mesh.join(HostId::new(host));
        }
        mesh
    }

    /// A mesh whose hosts are connected, with the build seeded.
    pub fn seeded(shape: Shape) -> Self {
        let mut mesh = Self::new(shape);
        mesh.run_for(Duration::from_secs(5));
        mesh.seed();
        mesh
    }

    pub fn join(&mut self, host: HostId) {
        let tracker = Contact {
            host: SEEDER,
            address: "seeder".into(),
        };
        let mut config = PeerConfig::new(host, format!("{host}").into(), tracker);
        (self.shape.peer)(&mut config);
        self.peers
            .insert(host, Peer::new(config, self.shape.seed ^ host.get(), self.now));
        self.drain(host);
    }

    pub fn seed(&mut self) {
        self.started_at = self.now;
        self.seeder.seed(self.now, Arc::clone(&self.manifest));
        self.drain(SEEDER);
    }

    /// A host vanishes; its neighbours notice after the latency.
    pub fn leave(&mut self, host: HostId) {
        for other in self.vanish(host) {
            self.push(self.shape.latency, other, Input::Event(Event::Disconnected(host)));
        }
    }

    /// A host vanishes; each of its neighbours notices when it next sends something to it.
    pub fn leave_silently(&mut self, host: HostId) {
        let others = self.vanish(host);
        self.unaware.extend(others.into_iter().map(|other| (other, host)));
    }

    fn vanish(&mut self, host: HostId) -> Vec<HostId> {
        self.peers.remove(&host);
        self.wakeups.remove(&host);
        let others = self.connected_with(host);
        others.iter().for_each(|other| self.cut(host, *other));
        self.uplinks.remove(&host);
        others
    }

    fn connected_with(&self, host: HostId) -> Vec<HostId> {
        let ends = self.connections.iter().filter(|(a, b)| *a == host || *b == host);
        ends.map(|(a, b)| if *a == host { *b } else { *a }).collect()
    }

    /// The connections between hosts, each once.
    pub fn links(&self) -> Vec<(HostId, HostId)> {
        let between_hosts = self.connections.iter().filter(|(a, _)| *a != SEEDER);
        between_hosts.copied().collect()
    }

    fn cut(&mut self, a: HostId, b: HostId) {
        self.connections.remove(&pair(a, b));
        for (from, to) in [(a, b), (b, a)] {
            if let Some(uplink) = self.uplinks.get_mut(&from) {
                uplink.serving.retain(|(receiver, _, _)| *receiver != to);
            }
        }
    }

    /// A connection is reset; both ends notice.
    pub fn reset(&mut self, a: HostId, b: HostId) {
        self.cut(a, b);
        self.push(self.shape.latency, a, Input::Event(Event::Disconnected(b)));
        self.push(self.shape.latency, b, Input::Event(Event::Disconnected(a)));
    }

    /// A connection is reset; `a` notices, and `b` when it next sends something to `a`.
    pub fn reset_half(&mut self, a: HostId, b: HostId) {
        self.cut(a, b);
        self.push(self.shape.latency, a, Input::Event(Event::Disconnected(b)));
        self.unaware.insert((b, a));
    }

    /// All connections between hosts are reset.
    pub fn reset_all(&mut self) {
        for (a, b) in self.links() {
            self.reset(a, b);
        }
    }

    /// From now on the host reaches nobody but the seeder; what connections it has stay.
    pub fn apart(&mut self, host: HostId) {
        self.apart.insert(host);
    }

    /// The seeder begins anew, with the same identity and the whole build.
    pub fn restart_seeder(&mut self) {
        let others = self.connected_with(SEEDER);
        for other in others {
            self.cut(SEEDER, other);
            self.push(self.shape.latency, other, Input::Event(Event::Disconnected(SEEDER)));
        }
        self.uplinks.remove(&SEEDER);
        self.wakeups.remove(&SEEDER);
        let mut config = SeederConfig::new(SEEDER);
        (self.shape.seeder)(&mut config);
        self.seeder = Seeder::new(config, self.shape.seed + 1, self.now);
        self.seeder.seed(self.now, Arc::clone(&self.manifest));
        self.drain(SEEDER);
    }

    pub fn everybody_is_complete(&self) -> bool {
        self.peers
            .iter()
            .all(|(host, peer)| self.faults.contains_key(host) || peer.is_complete())
    }

    /// Runs until every host without a fault is complete; panics with who lacks what after `limit` of virtual time.
    pub fn run_until_complete(&mut self, limit: Duration) {
        let end = self.now + limit;
        let mut steps = 0_u64;
        while !steps.is_multiple_of(64) || !self.everybody_is_complete() {
            steps += 1;
            if self.everybody_is_complete() && self.queue.len() < 64 {
                return;
            }
            if self.now > end || !self.step() {
                if self.everybody_is_complete() {
                    return;
                }
                let stuck: Vec<_> = self
                    .peers
                    .iter()
                    .filter(|(_, p)| !p.is_complete())
                    .map(|(h, p)| {
                        (
                            h.get(),
                            p.progress(),
                            p.neighbour_count(),
                            p.chunks_without_source().len(),
                        )
                    })
                    .take(20)
                    .collect();
                panic!("seed {}: stuck at {}: {stuck:?}", self.shape.seed, self.now);
            }
        }
    }

    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(Reverse((at, _, _))) = self.queue.peek() {
            if *at > end {
                break;
            }
            self.step();
        }
        self.now = end;
    }

    /// The times from seeding to completion, in ascending order.
    pub fn latencies(&self) -> Vec<Duration> {
        let mut all: Vec<Duration> = self.completed_at.values().map(|at| at.since(self.started_at)).collect();
        all.sort_unstable();
        all
    }

    pub fn lower_bound(&self) -> Duration {
        let host = BoundedHost {
            uplink: self.shape.uplink,
            downlink: self.shape.downlink,
            joins_after: Duration::ZERO,
            serves_until: Duration::MAX,
            expected: true,
        };
        let swarm = BoundedSwarm {
            build: self.manifest.size(),
            chunk: Bytes::new(self.manifest.chunk_size().into()),
            latency: self.shape.latency,
            lead: Duration::ZERO,
            burst: Bytes::new(0),
            seeders: vec![BoundedSeeder {
                uplink: self.shape.uplink,
                sends_after: Duration::ZERO,
            }],
            hosts: vec![host; self.shape.hosts as usize],
            partitions: Vec::new(),
        };
        swarm.bounds().makespan()
    }

    fn step(&mut self) -> bool {
        let Some(Reverse((at, _, slot))) = self.queue.pop() else {
            return false;
        };
        self.now = at;
        self.free.push(slot);
        let (host, input) = self.events[slot].take().expect("queued once");
        if host != SEEDER && !self.peers.contains_key(&host) {
            if let Input::Dial(from) = input {
                self.push(self.shape.latency, from, Input::Event(Event::Disconnected(host)));
            }
            return true;
        }
        match input {
            Input::Event(Event::Wakeup) => {
                // Only the wakeup that is still wanted counts.
                if self.wakeups.get(&host) == Some(&at) {
                    self.wakeups.remove(&host);
                    self.tell(host, Event::Wakeup);
                }
            }
            Input::Event(Event::Message(from, message)) => {
                if self.connections.contains(&pair(host, from)) {
                    self.tell(host, Event::Message(from, message));
                }
            }
            Input::Event(Event::Connected(other)) => {
                if self.connections.contains(&pair(host, other)) {
                    self.tell(host, Event::Connected(other));
                }
            }
            Input::Event(event) => self.tell(host, event),
            Input::PieceSent => self.piece_sent(host),
            Input::PieceArrived { from, chunk, last } => self.piece_arrived(host, from, chunk, last),
            Input::Dial(from) => {
                if (from == SEEDER || self.peers.contains_key(&from)) && self.connections.insert(pair(host, from)) {
                    self.unaware.remove(&(host, from));
                    self.unaware.remove(&(from, host));
                    // In this order, or what is said first comes before there is anybody to hear it.
                    self.push(self.shape.latency, from, Input::Event(Event::Connected(host)));
                    self.tell(host, Event::Connected(from));
                }
            }
        }
        true
    }

    fn tell(&mut self, host: HostId, event: Event) {
        let now = self.now;
        if host == SEEDER {
            self.seeder.handle_event(now, event);
        } else if let Some(peer) = self.peers.get_mut(&host) {
            peer.handle_event(now, event);
        }
        self.drain(host);
    }

    fn drain(&mut self, host: HostId) {
        loop {
            let action = if host == SEEDER {
                self.seeder.poll_action()
            } else {
                self.peers.get_mut(&host).and_then(Peer::poll_action)
            };
            let Some(action) = action else {
                break;
            };
            self.carry_out(host, action);
        }
        let wakeup = if host == SEEDER {
            self.seeder.next_wakeup()
        } else {
            self.peers.get(&host).and_then(Peer::next_wakeup)
        };
        if let Some(at) = wakeup
            && self.wakeups.get(&host).is_none_or(|set| at < *set)
        {
            let at = at.max(self.now);
            self.wakeups.insert(host, at);
            self.push_at(at, host, Input::Event(Event::Wakeup));
        }
    }

    fn carry_out(&mut self, host: HostId, action: Action) {
        let latency = self.shape.latency;
        match action {
            Action::Connect(contact) => {
                let reaches = !self.apart.contains(&host) && !self.apart.contains(&contact.host);
                let there = contact.host == SEEDER || (reaches && self.peers.contains_key(&contact.host));
                if there {
                    self.push(latency, contact.host, Input::Dial(host));
                } else {
                    self.push(latency, host, Input::Event(Event::Disconnected(contact.host)));
                }
            }
            Action::Disconnect { host: other, .. } => {
                if self.connections.remove(&pair(host, other)) {
                    self.push(latency, other, Input::Event(Event::Disconnected(host)));
                }
            }
            Action::Send(to, message) => {
                self.messages += 1;
                self.refused += u64::from(host == SEEDER && matches!(message, Message::Reject { .. }));
                if self.unaware.remove(&(host, to)) {
                    self.push(latency, host, Input::Event(Event::Disconnected(to)));
                }
                if self.rng.random_range(0..100) >= self.shape.loss_percent {
                    self.push(latency, to, Input::Event(Event::Message(host, message)));
                }
            }
            Action::OpenStore(manifest) => {
                let held = Bitfield::new(manifest.chunk_count());
                self.push(
                    Duration::ZERO,
                    host,
                    Input::Event(Event::StoreOpened { held: held.into() }),
                );
            }
            Action::ServeChunk { to, chunk } => {
                if self.faults.get(&host) == Some(&Fault::Stall) {
                    return;
                }
                if self.faults.get(&host) == Some(&Fault::GiveUp) {
                    let from = host;
                    self.push(latency, to, Input::Event(Event::ChunkAborted { from, chunk }));
                    self.push(Duration::ZERO, host, Input::Event(Event::ChunkServed { to, chunk }));
                    return;
                }
                if self.gone.contains(&(host, chunk)) {
                    let from = host;
                    self.losses += 1;
                    self.push(latency, to, Input::Event(Event::ChunkAborted { from, chunk }));
                    self.push(Duration::ZERO, host, Input::Event(Event::ChunkLost { chunk }));
                    self.push(Duration::ZERO, host, Input::Event(Event::ChunkServed { to, chunk }));
                    return;
                }
                // From its beginning: a piece of an earlier serving that was still under way and thrown away is not missed.
                self.broken.remove(&(host, to, chunk));
                self.uplinks.entry(host).or_default().serving.push((to, chunk, PIECES));
                self.pump_uplink(host);
            }
            Action::StopServing { to, chunk } => {
                self.broken.remove(&(host, to, chunk));
                let uplink = self.uplinks.entry(host).or_default();
                uplink.serving.retain(|(t, c, _)| !(*t == to && *c == chunk));
                self.push(Duration::ZERO, host, Input::Event(Event::ChunkServed { to, chunk }));
            }
            Action::Gossip(_) => {}
            Action::Suspect { .. } => self.suspected += 1,
            Action::Complete => {
                let first = self.completed_at.insert(host, self.now);
                assert_eq!(first, None, "{host} was complete twice");
            }
        }
    }

    fn pump_uplink(&mut self, host: HostId) {
        let piece = Bytes::new(u64::from(self.manifest.chunk_size() / PIECES));
        let uplink = self.uplinks.entry(host).or_default();
        if uplink.busy || uplink.serving.is_empty() {
            return;
        }
        // Pass over receivers whose downlink is behind, as flow control would, while others can take something.
        let horizon = self.now + self.shape.downlink.transfer_time(piece);
        let count = uplink.serving.len();
        let ready = (0..count).map(|i| (uplink.next + i) % count).find(|&i| {
            let free = self
                .downlink_free
                .get(&uplink.serving[i].0)
                .copied()
                .unwrap_or_default();
            free <= horizon
        });
        let Some(index) = ready else {
            uplink.busy = true;
            let wait = self.shape.downlink.transfer_time(piece) / 2;
            self.push(wait, host, Input::PieceSent);
            return;
        };
        uplink.busy = true;
        let (to, chunk, left) = uplink.serving[index];
        let sent = self.shape.uplink.transfer_time(piece);
        uplink.next = index + 1;
        if left == 1 {
            uplink.serving.remove(index);
        } else {
            uplink.serving[index].2 -= 1;
        }
        *self.sent.entry(host).or_default() += piece.get();
        let at_receiver = self.now + sent + self.shape.latency;
        // Cut through: the downlink takes the piece while it is being sent, if it is free.
        let free = self.downlink_free.entry(to).or_default();
        let begins = (*free).max(self.now + self.shape.latency);
        let arrived = (begins + self.shape.downlink.transfer_time(piece)).max(at_receiver);
        *free = begins + self.shape.downlink.transfer_time(piece);
        let last = left == 1;
        self.push_at(
            arrived,
            to,
            Input::PieceArrived {
                from: host,
                chunk,
                last,
            },
        );
        let event = if last {
            Event::ChunkServed { to, chunk }
        } else {
            Event::ServingProgress { to, chunk }
        };
        self.push(sent, host, Input::Event(event));
        self.push(sent, host, Input::PieceSent);
    }

    fn piece_sent(&mut self, host: HostId) {
        self.uplinks.entry(host).or_default().busy = false;
        self.pump_uplink(host);
    }

    fn piece_arrived(&mut self, host: HostId, from: HostId, chunk: ChunkIndex, last: bool) {
        if !self.connections.contains(&pair(host, from)) {
            return;
        }
        let expected = self.peers.get(&host).is_some_and(|p| p.expects(from, chunk));
        if !expected {
            self.wasted += u64::from(self.manifest.chunk_size() / PIECES);
            if last {
                self.broken.remove(&(from, host, chunk));
            } else {
                self.broken.insert((from, host, chunk));
            }
            self.tell(host, Event::ChunkProgress { from, chunk });
            return;
        }
        if last && self.broken.remove(&(from, host, chunk)) {
            self.wasted += u64::from(self.manifest.chunk_size() / PIECES);
            return;
        }
        if !last {
            self.tell(host, Event::ChunkProgress { from, chunk });
        } else if self.faults.get(&from) == Some(&Fault::Corrupt) {
            self.tell(host, Event::ChunkCorrupt { from, chunk });
        } else {
            self.gone.remove(&(host, chunk));
            self.tell(host, Event::ChunkStored { from, chunk });
        }
    }

    pub fn chunk(&self, index: u32) -> ChunkIndex {
        self.manifest.chunk(index).unwrap()
    }

    /// A chunk is found to be gone without anybody having asked for it.
    pub fn lose(&mut self, host: HostId, chunk: ChunkIndex) {
        self.losses += 1;
        self.tell(host, Event::ChunkLost { chunk });
    }

    /// The bytes of a chunk are there again, or for the first time, without anybody having sent them.
    pub fn find(&mut self, host: HostId, chunk: ChunkIndex) {
        self.gone.remove(&(host, chunk));
        self.tell(host, Event::ChunkFound { chunk });
    }

    fn push(&mut self, delay: Duration, host: HostId, input: Input) {
        self.push_at(self.now + delay, host, input);
    }

    fn push_at(&mut self, at: Time, host: HostId, input: Input) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[slot] = Some((host, input));
        self.queue.push(Reverse((at, self.order, slot)));
        self.order += 1;
    }

    /// A message out of nowhere, as a broken or hostile member would send it.
    pub fn inject(&mut self, to: HostId, from: HostId, message: Message) {
        self.tell(to, Event::Message(from, message));
    }
}

fn pair(a: HostId, b: HostId) -> (HostId, HostId) {
    (a.min(b), a.max(b))
}
