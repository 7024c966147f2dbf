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
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use swarm::{
    Bitfield, Bytes, ChunkIndex, Contact, Event, Hash, HostId, Manifest, Message, Part, Peer, PeerConfig, Seeder,
    SeederConfig, Time, ZoneId,
    lower_bound::{BoundedHost, BoundedSeeder, BoundedSwarm},
};

pub use shape::{Fault, Shape, Store};
use uplinks::Uplink;

/// The first seeder, and the tracker as long as it is there.
pub const SEEDER: HostId = HostId::new(0);

/// Seeder `index` of a region, from 0.
pub const fn seeder(index: u32) -> HostId {
    HostId::new(0_u64.wrapping_sub(index as u64))
}

fn is_seeder(host: HostId) -> bool {
    (0..SEEDERS_MAX).any(|index| seeder(index) == host)
}

/// As in a region.
const SEEDERS_MAX: u32 = 8;

/// A swarm in virtual time.
pub struct Mesh {
    pub now: Time,
    /// Those that are there.
    pub seeders: BTreeMap<HostId, Seeder>,
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
    /// With the generation of the host for which it is.
    events: Vec<Option<(HostId, u32, Input)>>,
    free: Vec<usize>,
    order: u64,
    connections: BTreeSet<(HostId, HostId)>,
    /// Ends of connections that have gone without a word: who learns of it when it next sends, and whose other end has gone.
    unaware: BTreeSet<(HostId, HostId)>,
    /// Hosts that reach nobody but the seeder, and nobody but the seeder reaches.
    apart: BTreeSet<HostId>,
    /// How often a member has come back: what was on its way to the one before is not for it.
    generations: BTreeMap<HostId, u32>,
    /// What hosts that have come back found of what they held.
    stores: BTreeMap<HostId, Bitfield>,
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
        assert!((1..=SEEDERS_MAX).contains(&shape.seeders));
        let mut mesh = Self {
            now: Time::ZERO,
            seeders: BTreeMap::new(),
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
            generations: BTreeMap::new(),
            stores: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            downlink_free: BTreeMap::new(),
            wakeups: BTreeMap::new(),
            shape,
        };
        for index in 0..mesh.shape.seeders {
            mesh.start_seeder(index);
        }
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

    fn start_seeder(&mut self, index: u32) {
        let host = seeder(index);
        let mut config = SeederConfig::new(host);
        config.part = Part::new(index, self.shape.seeders).unwrap();
        (self.shape.seeder)(&mut config);
        let generation = u64::from(self.generation(host));
        let seed = (self.shape.seed + generation) ^ (u64::from(index) << 32);
        self.seeders.insert(host, Seeder::new(config, seed, self.now));
    }

    pub fn join(&mut self, host: HostId) {
        let contact = |index| Contact {
            host: seeder(index),
            address: format!("seeder {index}").into(),
        };
        let seeders = (0..self.shape.seeders).map(contact);
        let mut config = PeerConfig::with_seeders(host, format!("{host}").into(), seeders);
        config.policy = self.shape.policy;
        config.zone = self.zone_of(host);
        (self.shape.peer)(&mut config);
        let generation = u64::from(self.generation(host));
        let seed = self.shape.seed ^ host.get() ^ (generation << 32);
        self.peers.insert(host, Peer::new(config, seed, self.now));
        self.drain(host);
    }

    pub fn zone_of(&self, host: HostId) -> Option<ZoneId> {
        let turn = host.get().checked_rem(self.shape.zones.into())?;
        NonZeroU32::new(u32::try_from(turn).unwrap() + 1).map(ZoneId::new)
    }

    /// A host that is there, or has gone, is started anew: with a seed of its own, and with what it held or without.
    pub fn rejoin(&mut self, host: HostId, store: Store) {
        if self.peers.contains_key(&host) {
            self.leave(host);
        }
        match store {
            Store::Kept => {
                let gone = self.gone.iter().filter(|(holder, _)| *holder == host);
                let gone: Vec<ChunkIndex> = gone.map(|(_, chunk)| *chunk).collect();
                if let Some(held) = self.stores.get_mut(&host) {
                    for chunk in gone {
                        held.remove(chunk);
                    }
                }
            }
            Store::Lost => drop(self.stores.remove(&host)),
        }
        self.gone.retain(|(holder, _)| *holder != host);
        self.completed_at.remove(&host);
        *self.generations.entry(host).or_default() += 1;
        self.join(host);
    }

    fn generation(&self, host: HostId) -> u32 {
        self.generations.get(&host).copied().unwrap_or_default()
    }

    pub fn seed(&mut self) {
        self.started_at = self.now;
        (0..self.shape.seeders).for_each(|index| self.seed_by(index));
    }

    fn seed_by(&mut self, index: u32) {
        let host = seeder(index);
        if let Some(seeder) = self.seeders.get_mut(&host) {
            seeder.seed(self.now, Arc::clone(&self.manifest));
        }
        self.drain(host);
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
        if let Some(peer) = self.peers.remove(&host) {
            let mut held = Bitfield::new(self.manifest.chunk_count());
            for chunk in peer.acquired() {
                held.insert(*chunk);
            }
            self.stores.insert(host, held);
        }
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
        let between_hosts = self
            .connections
            .iter()
            .filter(|(a, b)| !is_seeder(*a) && !is_seeder(*b));
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

    /// The first seeder vanishes; hosts notice after the latency.
    pub fn lose_seeder(&mut self) {
        self.lose_seeder_of(0);
    }

    /// Likewise any of them.
    pub fn lose_seeder_of(&mut self, index: u32) {
        let host = seeder(index);
        for other in self.connected_with(host) {
            self.cut(host, other);
            self.push(self.shape.latency, other, Input::Event(Event::Disconnected(host)));
        }
        self.uplinks.remove(&host);
        self.wakeups.remove(&host);
        self.seeders.remove(&host);
    }

    /// The first seeder begins anew, with the same identity and the whole build.
    pub fn restart_seeder(&mut self) {
        self.restart_seeder_of(0);
    }

    /// Likewise any of them.
    pub fn restart_seeder_of(&mut self, index: u32) {
        self.lose_seeder_of(index);
        *self.generations.entry(seeder(index)).or_default() += 1;
        self.start_seeder(index);
        self.seed_by(index);
    }

    fn is_there(&self, member: HostId) -> bool {
        self.seeders.contains_key(&member) || self.peers.contains_key(&member)
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
            seeders: vec![
                BoundedSeeder {
                    uplink: self.shape.uplink,
                    sends_after: Duration::ZERO,
                };
                self.shape.seeders as usize
            ],
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
        let (host, generation, input) = self.events[slot].take().expect("queued once");
        let is_late = generation != self.generation(host) && !matches!(input, Input::Dial(_));
        if is_late || !self.is_there(host) {
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
                if self.is_there(from) && self.connections.insert(pair(host, from)) {
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
        if let Some(seeder) = self.seeders.get_mut(&host) {
            seeder.handle_event(now, event);
        } else if let Some(peer) = self.peers.get_mut(&host) {
            peer.handle_event(now, event);
        }
        self.drain(host);
    }

    fn drain(&mut self, host: HostId) {
        loop {
            let of_seeder = self.seeders.get_mut(&host).and_then(Seeder::poll_action);
            let action = of_seeder.or_else(|| self.peers.get_mut(&host)?.poll_action());
            let Some(action) = action else {
                break;
            };
            self.carry_out(host, action);
        }
        let of_seeder = self.seeders.get(&host).and_then(Seeder::next_wakeup);
        let wakeup = of_seeder.or_else(|| self.peers.get(&host)?.next_wakeup());
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
        self.events[slot] = Some((host, self.generation(host), input));
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
