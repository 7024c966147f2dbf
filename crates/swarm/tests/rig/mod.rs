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

mod acting;
mod shape;
mod uplinks;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use swarm::{
    Bytes, ChunkIndex, Contact, Event, Hash, HostId, Manifest, Message, Peer, PeerConfig, Seeder, SeederConfig, Time,
    lower_bound::{BoundedHost, BoundedSeeder, BoundedSwarm},
};

pub use shape::{Fault, Shape};
use uplinks::Uplink;

pub const SEEDER: HostId = HostId::new(0);

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
    /// The seeder is not there: who dials it fails.
    without_seeder: bool,
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
            without_seeder: false,
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
        config.policy = self.shape.policy;
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

    /// The seeder vanishes; hosts notice after the latency.
    pub fn lose_seeder(&mut self) {
        for other in self.connected_with(SEEDER) {
            self.cut(SEEDER, other);
            self.push(self.shape.latency, other, Input::Event(Event::Disconnected(SEEDER)));
        }
        self.uplinks.remove(&SEEDER);
        self.wakeups.remove(&SEEDER);
        self.without_seeder = true;
    }

    /// The seeder begins anew, with the same identity and the whole build.
    pub fn restart_seeder(&mut self) {
        self.lose_seeder();
        self.without_seeder = false;
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
        let is_there = if host == SEEDER {
            !self.without_seeder
        } else {
            self.peers.contains_key(&host)
        };
        if !is_there {
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
                let is_there = if from == SEEDER {
                    !self.without_seeder
                } else {
                    self.peers.contains_key(&from)
                };
                if is_there && self.connections.insert(pair(host, from)) {
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
