//! A region at the kernel fidelity: the policy of the core and nothing of its protocol.
//!
//! Whoever has a free slot sends its highest useful chunk to the neighbour that holds the fewest, knowing at every moment
//! what all neighbours hold and receive. There are no messages, so nobody waits for one, asks the wrong neighbour or
//! decides by stale news: it is what the protocol would do if it knew everything, and ends earlier than that by what
//! not knowing costs. A transfer takes two events and a host some 200 bytes, so fleets of millions fit.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use scenario::{HostState, RegionEnd};
use smallvec::SmallVec;
use swarm::{HostId, Overlay};

use crate::event_queue::EventQueue;
use crate::member::MemberId;
use crate::prefetch::prefetch;
use crate::region::{RegionResult, RegionStatus};
use crate::topology::Topology;

/// What a region consists of.
pub(crate) struct KernelSetup {
    pub(crate) chunks: u32,
    pub(crate) chunk_size: u32,
    pub(crate) build_size: u64,
    pub(crate) hosts: u32,
    pub(crate) topology: Topology,
    pub(crate) degree: u16,
    pub(crate) upload_slots: usize,
    /// Chunks that a host receives at a time, at most.
    pub(crate) chunks_in_flight: usize,
    pub(crate) seeder_slots: usize,
    pub(crate) seeder_clients: usize,
    pub(crate) seed: u64,
    pub(crate) deadline: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Input {
    /// The sender's slot is free again.
    Sent { from: u32 },
    /// The receiver has the chunk.
    Arrived { from: u32, to: u32, chunk: u32 },
}

/// What is looked at of a neighbour before its chunks are; together, since nearly each look is a miss of the cache.
#[derive(Clone, Copy, Debug)]
struct Member {
    held: u32,
    receiving: u16,
    receive_max: u16,
    sending: u16,
}

struct Kernel {
    setup: KernelSetup,
    now: u64,
    queue: EventQueue<Input>,
    words: usize,
    /// Bits of what each member holds, the seeder first; and with what is on its way to it.
    held: Vec<u64>,
    coming: Vec<u64>,
    members: Vec<Member>,
    /// Neighbours of all members, one list after another, and where each begins.
    neighbours: Vec<u32>,
    begins: Vec<u32>,
    /// The seeder's first pass: the next chunk that nobody has.
    next_first: u32,
    rng: Xoshiro256PlusPlus,
    done: u32,
    result: RegionResult,
}

/// Runs a region to its end. `tell` is called now and then; it answers whether to go on.
pub(crate) fn run(setup: KernelSetup, tell: &mut dyn FnMut(RegionStatus) -> bool) -> RegionResult {
    let mut kernel = Kernel::new(setup);
    let end = kernel.run(tell);
    kernel.finish(end)
}

impl Kernel {
    fn new(setup: KernelSetup) -> Self {
        let members = setup.hosts as usize + 1;
        let words = setup.chunks.div_ceil(64) as usize;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(setup.seed);
        let (neighbours, begins) = overlay(&setup, &mut rng);
        let topology = &setup.topology;
        let fastest = topology.uplink_max().max(1);
        let chunk_nanos = u64::from(setup.chunk_size).saturating_mul(1_000_000_000) / fastest;
        let mut held = vec![0; members * words];
        for chunk in 0..setup.chunks {
            held[chunk as usize / 64] |= 1 << (chunk % 64);
        }
        let mut uplinks: Vec<u64> = (1..members).map(|host| topology.uplink(MemberId::at(host))).collect();
        uplinks.sort_unstable();
        let usual = uplinks.get(uplinks.len() / 2).copied().unwrap_or(1).max(1) / setup.upload_slots as u64;
        let mixed = uplinks.first() != uplinks.last();
        let at_first = (0..members)
            .map(|member| {
                let at_once = topology.downlink(MemberId::at(member)) / usual.max(1);
                let at_once = u16::try_from(at_once).unwrap_or(u16::MAX);
                // With one slot a slow sender would have the whole of a fast receiver.
                let at_once = at_once.max(if mixed { 2 } else { 1 });
                Member {
                    held: if member == 0 { setup.chunks } else { 0 },
                    receiving: 0,
                    receive_max: at_once.min(u16::try_from(setup.chunks_in_flight).unwrap_or(u16::MAX)),
                    sending: 0,
                }
            })
            .collect();
        Self {
            queue: EventQueue::new(chunk_nanos.saturating_mul(4).clamp(1 << 16, 1 << 40)),
            now: 0,
            words,
            coming: held.clone(),
            held,
            members: at_first,
            neighbours,
            begins,
            next_first: 0,
            rng,
            done: 0,
            result: RegionResult::new(members - 1),
            setup,
        }
    }

    fn run(&mut self, tell: &mut dyn FnMut(RegionStatus) -> bool) -> RegionEnd {
        let deadline = u64::try_from(self.setup.deadline.as_nanos()).unwrap_or(u64::MAX);
        self.send_while_free(0);
        while self.done < self.setup.hosts {
            let Some((at, input)) = self.queue.pop() else {
                return RegionEnd::Deadlock;
            };
            if at > deadline {
                self.now = deadline;
                return RegionEnd::Deadline;
            }
            self.fetch_ahead();
            self.now = at;
            self.result.events += 1;
            if self.result.events.is_multiple_of(TELL_EVERY) && !tell(self.status()) {
                return RegionEnd::Stopped;
            }
            match input {
                Input::Sent { from } => {
                    self.members[from as usize].sending -= 1;
                    self.send_while_free(from);
                }
                Input::Arrived { from, to, chunk } => self.arrived(from, to, chunk),
            }
        }
        tell(self.status());
        RegionEnd::Converged
    }

    /// Has what events to come will look at brought into the processor's cache: first where a host's neighbours are, then
    /// what these hold.
    fn fetch_ahead(&self) {
        let host = |ahead| match self.queue.peek_ahead(ahead) {
            Some(Input::Sent { from }) => Some(*from),
            Some(Input::Arrived { to, .. }) => Some(*to),
            None => None,
        };
        if let Some(host) = host(FAR_AHEAD) {
            prefetch(&self.begins[host as usize]);
            self.fetch_sets(host);
        }
        if let Some(host) = host(MIDDLE_AHEAD) {
            let (begin, end) = self.range(host);
            let line = self.neighbours[begin..end].chunks(LINE_OF_NEIGHBOURS);
            line.for_each(|neighbours| prefetch(&neighbours[0]));
            if let Some(last) = self.neighbours[begin..end].last() {
                prefetch(last);
            }
        }
        if let Some(host) = host(NEAR_AHEAD) {
            let (begin, end) = self.range(host);
            for &neighbour in &self.neighbours[begin..end.min(begin + NEIGHBOURS_ORDERED)] {
                prefetch(&self.members[neighbour as usize]);
                prefetch(&self.coming[neighbour as usize * self.words]);
                prefetch(&self.coming[(neighbour as usize + 1) * self.words - 1]);
            }
        }
    }

    fn fetch_sets(&self, host: u32) {
        let (first, last) = (host as usize * self.words, (host as usize + 1) * self.words - 1);
        for word in [first, last] {
            prefetch(&self.held[word]);
            prefetch(&self.coming[word]);
        }
    }

    fn status(&self) -> RegionStatus {
        RegionStatus {
            virtual_time: Duration::from_nanos(self.now),
            hosts_done: self.done,
            transfers: self.result.transfers,
        }
    }

    fn arrived(&mut self, from: u32, to: u32, chunk: u32) {
        let (host, bytes) = (to as usize, u64::from(self.length(chunk)));
        self.held[host * self.words + chunk as usize / 64] |= 1 << (chunk % 64);
        self.members[host].held += 1;
        self.members[host].receiving -= 1;
        self.result.transfers += 1;
        // What comes from hosts is counted at the end: a result is one more miss of the cache.
        if from == 0 {
            self.result.hosts[host - 1].bytes_from_seeder += bytes;
            self.result.seeder_bytes += bytes;
        }
        if self.members[host].held == self.setup.chunks {
            let result = &mut self.result.hosts[host - 1];
            result.state = HostState::Verified;
            result.verified_after = Some(Duration::from_nanos(self.now));
            self.done += 1;
        }
        // It has something new to send, and room to receive from those that had nobody.
        self.send_while_free(to);
        let (begin, end) = self.range(to);
        let first = begin + self.rng.random_range(0..(end - begin).max(1));
        for place in (first..end).chain(begin..first) {
            if self.members[host].receiving >= self.members[host].receive_max {
                break;
            }
            let neighbour = self.neighbours[place];
            if self.has_slot(neighbour) && self.members[neighbour as usize].held > 0 {
                self.send_to(neighbour, to);
            }
        }
    }

    fn has_slot(&self, member: u32) -> bool {
        let slots = if member == 0 {
            self.setup.seeder_slots
        } else {
            self.setup.upload_slots
        };
        usize::from(self.members[member as usize].sending) < slots
    }

    fn send_while_free(&mut self, from: u32) {
        while self.has_slot(from) && self.members[from as usize].held > 0 && self.send_to_neediest(from) {}
    }

    /// Sends something to the neighbour that holds the fewest of those that can use something; by chance among equals.
    fn send_to_neediest(&mut self, from: u32) -> bool {
        let (begin, end) = self.range(from);
        if begin == end {
            return false;
        }
        let count = (end - begin).min(NEIGHBOURS_ORDERED);
        let first = begin + self.rng.random_range(0..end - begin);
        let at = |offset: usize| {
            let place = first + offset;
            self.neighbours[if place < end { place } else { place - (end - begin) }]
        };
        // Packed into a number: what it holds, then how far from the first.
        let mut order = [0_u32; NEIGHBOURS_ORDERED];
        let mut found = 0;
        for (offset, number) in (0..count).zip(0_u32..) {
            let member = &self.members[at(offset) as usize];
            if member.receiving < member.receive_max && member.held < self.setup.chunks {
                order[found] = (member.held + u32::from(member.receiving)) * NEIGHBOURS_ORDERED_U32 + number;
                found += 1;
            }
        }
        let order = &mut order[..found];
        order.sort_unstable();
        let neediest = order.iter().map(|place| at((place % NEIGHBOURS_ORDERED_U32) as usize));
        let neediest: SmallVec<[u32; NEIGHBOURS_ORDERED]> = neediest.collect();
        neediest.into_iter().any(|to| self.send_to(from, to))
    }

    /// Sends the highest chunk that `to` lacks and nobody sends it; the seeder each chunk once before any twice.
    fn send_to(&mut self, from: u32, to: u32) -> bool {
        if self.members[to as usize].receiving >= self.members[to as usize].receive_max {
            return false;
        }
        let Some(chunk) = self.choose(from, to) else {
            return false;
        };
        if from == 0 && chunk == self.next_first {
            self.next_first += 1;
        }
        let host = to as usize;
        self.coming[host * self.words + chunk as usize / 64] |= 1 << (chunk % 64);
        self.members[host].receiving += 1;
        self.members[from as usize].sending += 1;
        let (sender, receiver) = (MemberId::new(from), MemberId::new(to));
        let topology = &self.setup.topology;
        let slots = if from == 0 {
            self.setup.seeder_slots
        } else {
            self.setup.upload_slots
        };
        let share = topology.downlink(receiver) / u64::from(self.members[host].receive_max);
        let rate = (topology.uplink(sender) / slots as u64).min(share).max(1);
        let nanos = u128::from(self.length(chunk)) * 1_000_000_000 / u128::from(rate);
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        let sent = self.now.saturating_add(nanos);
        let arrived = sent.saturating_add(topology.delay(sender, receiver));
        self.queue.push(sent, Input::Sent { from });
        self.queue.push(arrived, Input::Arrived { from, to, chunk });
        true
    }

    fn choose(&self, from: u32, to: u32) -> Option<u32> {
        if from == 0 && self.next_first < self.setup.chunks {
            return Some(self.next_first);
        }
        let (from, to) = (from as usize * self.words, to as usize * self.words);
        let pairs = self.held[from..from + self.words]
            .iter()
            .zip(&self.coming[to..to + self.words]);
        let word = pairs.enumerate().rev().find_map(|(index, (held, coming))| {
            let useful = held & !coming;
            (useful != 0).then(|| (index, useful.ilog2()))
        });
        word.map(|(index, bit)| u32::try_from(index).unwrap_or(u32::MAX) * 64 + bit)
    }

    fn length(&self, chunk: u32) -> u32 {
        let size = self.setup.chunk_size;
        let rest = self.setup.build_size - u64::from(chunk) * u64::from(size);
        u32::try_from(rest).unwrap_or(size).min(size)
    }

    fn range(&self, member: u32) -> (usize, usize) {
        let member = member as usize;
        (self.begins[member] as usize, self.begins[member + 1] as usize)
    }

    fn finish(mut self, end: RegionEnd) -> RegionResult {
        for (index, result) in self.result.hosts.iter_mut().enumerate() {
            let (begin, end) = (self.begins[index + 1], self.begins[index + 2]);
            result.chunks_held = self.members[index + 1].held;
            let words = &self.held[(index + 1) * self.words..(index + 2) * self.words];
            result.bytes_from_peers = bytes_of(words, &self.setup) - result.bytes_from_seeder;
            let clients = &self.neighbours[begin as usize..end as usize];
            result.neighbours = end - begin - u32::from(clients.first() == Some(&0));
        }
        self.result.end = end;
        // Nothing here keeps payload within zones, so what crosses them says nothing of the protocol.
        self.result.cross_zone_bytes = None;
        self.result.virtual_time = Duration::from_nanos(self.now);
        self.result
    }
}

/// The bytes of a set of chunks, of which the last may be shorter.
fn bytes_of(words: &[u64], setup: &KernelSetup) -> u64 {
    let count: u32 = words.iter().map(|word| word.count_ones()).sum();
    let last = setup.chunks.saturating_sub(1);
    let has_last = words
        .get(last as usize / 64)
        .is_some_and(|word| word >> (last % 64) & 1 == 1);
    let full = u64::from(count) * u64::from(setup.chunk_size);
    let missing = u64::from(setup.chunks) * u64::from(setup.chunk_size) - setup.build_size;
    if has_last { full - missing } else { full }
}

/// The overlay that the tracker makes of a fleet that starts at once, and the seeder's clients.
fn overlay(setup: &KernelSetup, rng: &mut Xoshiro256PlusPlus) -> (Vec<u32>, Vec<u32>) {
    let degree = usize::from(setup.degree);
    let joiners: Vec<(HostId, u16)> = (1..=setup.hosts)
        .map(|host| (HostId::new(host.into()), setup.degree.div_ceil(2)))
        .collect();
    let mut overlay = Overlay::default();
    overlay.link_joiners(&joiners, degree + degree / 2, rng);
    let number = |host: &HostId| u32::try_from(host.get()).unwrap_or(u32::MAX);
    let clients = setup.seeder_clients.min(setup.hosts as usize);
    let chosen = rand::seq::index::sample(rng, setup.hosts as usize, clients);
    let mut neighbours: Vec<u32> = chosen.iter().filter_map(|n| u32::try_from(n + 1).ok()).collect();
    let mut begins = vec![0, u32::try_from(neighbours.len()).unwrap_or(u32::MAX)];
    let mut is_client = vec![false; setup.hosts as usize + 1];
    neighbours.iter().for_each(|client| is_client[*client as usize] = true);
    for (host, _) in &joiners {
        // The seeder among them, so that a client with room asks it too.
        neighbours.extend(is_client[number(host) as usize].then_some(0));
        neighbours.extend(overlay.links(*host).iter().map(number));
        begins.push(u32::try_from(neighbours.len()).unwrap_or(u32::MAX));
    }
    (neighbours, begins)
}

/// Events between looks at whether to go on.
const TELL_EVERY: u64 = 1 << 16;
/// Events that are looked ahead, for what is found at once, for what is found by that, and for what is found by that again.
const FAR_AHEAD: usize = 12;
const MIDDLE_AHEAD: usize = 8;
const NEAR_AHEAD: usize = 4;
/// Neighbours in a line of the cache.
const LINE_OF_NEIGHBOURS: usize = 16;
/// Neighbours that a sender looks at, at most; a seeder has more clients, of which it looks at so many.
const NEIGHBOURS_ORDERED: usize = NEIGHBOURS_ORDERED_U32 as usize;
const NEIGHBOURS_ORDERED_U32: u32 = 32;
