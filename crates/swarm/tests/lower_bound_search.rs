//! Holds the bound against the best of all schedules, for all fleets of up to four hosts and four chunks.
//!
//! Time goes in slots. First those schedules are searched that move whole chunks in slots of C, as many side by side as rates
//! allow; then all those in slots of C/2 in which a copy takes one slot (at rate 2) or two (at rate 1), whoever sends it,
//! side by side or one after another, and in which hosts may also wait. Each search is complete: it asks for ever fewer slots
//! until they are not enough. What it rules out early it rules out by counting.
//!
//! A schedule with finer slots can be shorter than the best that is found, as where a seeder of rate 4 serves one host of rate 2: so what
//! is printed is how far the bound is from the truth at most.

#![expect(
    clippy::disallowed_types,
    reason = "the search prints how long it took, and its map has a hash of its own"
)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use swarm::lower_bound::{BoundedHost, BoundedSeeder, BoundedSwarm};
use swarm::{ByteRate, Bytes};

const CHUNK: u64 = 1_000_000;

/// Rates are chunks a second.
#[derive(Clone, Debug)]
struct Fleet {
    chunks: u32,
    seeder: u64,
    /// In descending order.
    uplinks: Vec<u64>,
    /// Downlink by uplink.
    down: u64,
}

impl Fleet {
    fn bound(&self) -> Duration {
        let rate = |rate: u64| ByteRate::from_bytes_per_second(rate * CHUNK).expect("not zero");
        let host = |uplink: &u64| BoundedHost {
            uplink: rate(*uplink),
            downlink: rate(uplink * self.down),
            joins_after: Duration::ZERO,
            serves_until: Duration::MAX,
            expected: true,
        };
        let swarm = BoundedSwarm {
            build: Bytes::new(u64::from(self.chunks) * CHUNK),
            chunk: Bytes::new(CHUNK),
            latency: Duration::ZERO,
            lead: Duration::ZERO,
            burst: Bytes::new(0),
            seeders: vec![BoundedSeeder {
                uplink: rate(self.seeder),
                sends_after: Duration::ZERO,
            }],
            hosts: self.uplinks.iter().map(host).collect(),
            partitions: Vec::new(),
        };
        swarm.bounds().makespan()
    }

    /// The least time of all schedules that are searched.
    fn best(&self) -> Duration {
        let whole = Search::new(self, 1).least_slots(1);
        // Every schedule in whole slots is one in halves, so only shorter ones are of interest.
        let mut halves = Search::new(self, 2);
        let mut least = 2 * whole;
        while halves.within(State::default(), least - 1) {
            least -= 1;
        }
        Duration::from_millis(500) * least
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct State {
    /// By host, four bits each: the chunks it holds.
    held: u16,
    /// Likewise, what is half on its way and arrives with this slot.
    coming: u16,
    /// By member, four bits each, the seeder last: how much of its uplink that takes.
    taken: u32,
}

/// What has been chosen for a slot so far.
#[derive(Clone, Copy)]
struct Choice {
    after: State,
    cells: u16,
    sent: [u32; 5],
    received: [u32; 4],
}

struct Search {
    hosts: usize,
    chunks: u32,
    /// What each member can send in a slot, and receive: one for a chunk in as many slots as a slot has parts of C.
    up: Vec<u32>,
    down: Vec<u32>,
    /// What a chunk within one slot takes: 1, or 2 where a slot is half of C.
    parts: u32,
    permutations: Vec<[u16; 16]>,
    /// The most slots that were not enough.
    failed: HashMap<State, u32, BuildHasherDefault<Mix>>,
}

impl Search {
    fn new(fleet: &Fleet, parts: u32) -> Self {
        let narrow = |rate: u64| u32::try_from(rate).expect("a small one");
        Self {
            hosts: fleet.uplinks.len(),
            chunks: fleet.chunks,
            up: fleet
                .uplinks
                .iter()
                .copied()
                .chain([fleet.seeder])
                .map(narrow)
                .collect(),
            down: fleet.uplinks.iter().map(|rate| narrow(rate * fleet.down)).collect(),
            parts,
            permutations: permutations(fleet.chunks),
            failed: HashMap::default(),
        }
    }

    fn least_slots(&mut self, from: u32) -> u32 {
        let mut slots = (from..).filter(|slots| self.within(State::default(), *slots));
        slots.next().expect("a seeder alone comes to an end")
    }

    fn all(&self) -> u16 {
        (0..self.hosts).fold(0, |all, host| all | ((1 << self.chunks) - 1) << (4 * host))
    }

    fn within(&mut self, state: State, slots: u32) -> bool {
        let state = self.canonical(state);
        if state.held == self.all() {
            return true;
        }
        if self.is_late(state, slots) || self.failed.get(&state).is_some_and(|failed| *failed >= slots) {
            return false;
        }
        let mut next = Vec::new();
        let choice = Choice {
            after: State {
                held: state.held | state.coming,
                ..State::default()
            },
            cells: state.held | state.coming,
            sent: std::array::from_fn(|member| state.taken >> (4 * member) & 15),
            received: std::array::from_fn(|host| (state.coming >> (4 * host) & 15).count_ones()),
        };
        self.choose(state, 0, 0, choice, &mut next);
        next.sort_unstable();
        next.dedup();
        // What has most is most likely to be enough.
        next.sort_by_key(|state| std::cmp::Reverse(state.held.count_ones() * 2 + state.coming.count_ones()));
        if next.into_iter().any(|next| self.within(next, slots - 1)) {
            return true;
        }
        self.failed.insert(state, slots);
        false
    }

    /// Every way in which members from this one on can begin something, in ascending order of what they begin.
    fn choose(&self, state: State, member: usize, from: u32, choice: Choice, next: &mut Vec<State>) {
        if member > self.hosts {
            // Who can send a chunk within the slot loses nothing by it.
            let could = |member: usize| self.options(state, member, choice).any(|(_, fast, _, _)| fast);
            if !(0..=self.hosts).any(could) {
                next.push(choice.after);
            }
            return;
        }
        for (place, fast, host, cell) in self.options(state, member, choice).filter(|(place, ..)| *place >= from) {
            let mut choice = choice;
            let takes = if fast { self.parts } else { 1 };
            if fast {
                choice.after.held |= cell;
            } else {
                choice.after.coming |= cell;
                choice.after.taken += 1 << (4 * member);
            }
            choice.cells |= cell;
            choice.sent[member] += takes;
            choice.received[host] += takes;
            self.choose(state, member, place + 1, choice, next);
        }
        self.choose(state, member + 1, 0, choice, next);
    }

    /// What a member can send, a number for it, whether within the slot, and to whom.
    fn options(&self, state: State, member: usize, choice: Choice) -> impl Iterator<Item = (u32, bool, usize, u16)> {
        let holds = if member == self.hosts {
            15
        } else {
            state.held >> (4 * member) & 15
        };
        let fits = move |host: usize, takes: u32| {
            choice.sent[member] + takes <= self.up[member] && choice.received[host] + takes <= self.down[host]
        };
        let kinds = [true, false].into_iter().filter(|fast| *fast || self.parts > 1);
        let cells = kinds.flat_map(|fast| (0..16).map(move |place| (fast, place)));
        cells.filter_map(move |(fast, place)| {
            let (host, chunk, cell) = (place as usize / 4, place % 4, 1_u16 << place);
            let open = host < self.hosts && chunk < self.chunks && host != member;
            let useful = open && holds >> chunk & 1 == 1 && choice.cells & cell == 0;
            (useful && fits(host, if fast { self.parts } else { 1 })).then_some((
                place + 16 * u32::from(!fast),
                fast,
                host,
                cell,
            ))
        })
    }

    fn is_late(&self, state: State, slots: u32) -> bool {
        let missing = self.all() & !state.held;
        // In parts of a chunk.
        let lacks = |host: usize| {
            let of = |field: u16| (field >> (4 * host) & 15).count_ones();
            of(missing) * self.parts - of(state.coming)
        };
        let late = |host: usize| lacks(host) > self.down[host] * slots;
        // Who holds nothing in this slot sends nothing in it.
        let sends = |member: usize| {
            let idle = member < self.hosts && state.held >> (4 * member) & 15 == 0;
            (slots - u32::from(idle)) * self.up[member]
        };
        slots == 0
            || (0..self.hosts).any(late)
            || (0..self.hosts).map(lacks).sum::<u32>() > (0..=self.hosts).map(sends).sum::<u32>()
            || self.is_rare(state, slots)
    }

    /// Whether some chunk cannot reach all even if nothing else is sent and everybody is as fast as the fastest host. Counts
    /// holders: each sends `fast` copies within a slot, or where it cannot one in two.
    fn is_rare(&self, state: State, slots: u32) -> bool {
        let hosts = self.hosts as u32;
        let fastest = self.up[..self.hosts].iter().copied().max().unwrap_or(0);
        let seeder = self.up[self.hosts];
        let grown = |holders: u32, coming: u32, slots: u32| {
            // What a slot begins at half pace comes with the next, so of two slots one brings what began before.
            let (mut holders, mut before, mut coming) = (holders, 0, coming);
            for _ in 0..slots {
                let fast = holders * (fastest / self.parts) + seeder / self.parts;
                let halves = before * (fastest % self.parts) + seeder % self.parts;
                before = holders;
                holders += fast + halves + coming;
                coming = 0;
            }
            holders
        };
        let of_chunk =
            |field: u16, chunk: u32| (0..hosts).filter(|host| field >> (4 * host + chunk) & 1 == 1).count() as u32;
        let mut fresh = 0_u32;
        for chunk in 0..self.chunks {
            let (held, coming) = (of_chunk(state.held, chunk), of_chunk(state.coming, chunk));
            if held + coming == 0 {
                fresh += 1;
            } else if grown(held, coming, slots) < hosts {
                return true;
            }
        }
        // The last of those that nobody has: all first copies together take so many slots, and who has it then may send it on.
        let injected = (fresh * self.parts).div_ceil(seeder);
        fresh > 0 && (injected > slots || grown(seeder, 0, slots - injected) < hosts)
    }

    /// One of all states that differ only by the names of chunks and of hosts with equal links.
    fn canonical(&self, state: State) -> State {
        let of_seeder = state.taken & 15 << (4 * self.hosts);
        let rename = |names: &[u16; 16]| {
            let mut rows = [(0_u32, 0_u16, 0_u16, 0_u32); 4];
            for (host, row) in rows.iter_mut().enumerate().take(self.hosts) {
                let nibble = |field: u16| names[usize::from(field >> (4 * host) & 15)];
                *row = (
                    self.up[host],
                    nibble(state.held),
                    nibble(state.coming),
                    state.taken >> (4 * host) & 15,
                );
            }
            rows[..self.hosts].sort_unstable_by(|a, b| b.cmp(a));
            let mut renamed = State {
                taken: of_seeder,
                ..State::default()
            };
            for (host, (_, held, coming, taken)) in rows.into_iter().enumerate().take(self.hosts) {
                renamed.held |= held << (4 * host);
                renamed.coming |= coming << (4 * host);
                renamed.taken |= taken << (4 * host);
            }
            renamed
        };
        self.permutations.iter().map(rename).max().expect("there is one")
    }
}

/// A hash that is quick for small numbers.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u32(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(20) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// What becomes of a set of chunks when they are renamed, for each way to do so.
fn permutations(chunks: u32) -> Vec<[u16; 16]> {
    fn orders(left: &[u32]) -> Vec<Vec<u32>> {
        if left.is_empty() {
            return vec![Vec::new()];
        }
        let begin = |first: &u32| {
            let rest: Vec<u32> = left.iter().copied().filter(|other| other != first).collect();
            orders(&rest)
                .into_iter()
                .map(|rest| [vec![*first], rest].concat())
                .collect::<Vec<_>>()
        };
        left.iter().flat_map(begin).collect()
    }
    let all: Vec<u32> = (0..chunks).collect();
    let table = |order: Vec<u32>| {
        std::array::from_fn(|set| {
            let renamed = order.iter().enumerate().filter(|(chunk, _)| set >> chunk & 1 == 1);
            renamed.fold(0, |all, (_, to)| all | 1 << to)
        })
    };
    orders(&all).into_iter().map(table).collect()
}

/// All fleets of so many hosts and chunks.
fn fleets(hosts: usize, chunks: u32) -> Vec<Fleet> {
    let mut all = Vec::new();
    for fast in 0..=hosts {
        for seeder in [1, 2, 4] {
            for down in [1, 2] {
                let uplinks = (0..hosts).map(|host| if host < fast { 2 } else { 1 }).collect();
                all.push(Fleet {
                    chunks,
                    seeder,
                    uplinks,
                    down,
                });
            }
        }
    }
    all
}

#[test]
fn no_schedule_of_a_small_fleet_beats_the_bound() {
    println!("hosts chunks fleets  at the bound  mean  worst  above it");
    for hosts in 1..=4 {
        for chunks in 1..=4 {
            let begun = std::time::Instant::now();
            let (mut reached, mut sum, mut worst) = (0, 0.0, (1.0, None));
            let fleets = fleets(hosts, chunks);
            for fleet in &fleets {
                let (bound, best) = (fleet.bound(), fleet.best());
                assert!(best >= bound, "{fleet:?}: {best:?} beats {bound:?}");
                let stretch = best.as_secs_f64() / bound.as_secs_f64();
                reached += usize::from(best == bound);
                sum += stretch;
                if stretch > worst.0 {
                    worst = (stretch, Some(fleet.clone()));
                }
            }
            let count = fleets.len();
            println!(
                "{hosts:5} {chunks:6} {count:6} {reached:13} {:5.3} {:6.3}  {:?} {:?}",
                sum / count as f64,
                worst.0,
                worst.1,
                begun.elapsed()
            );
        }
    }
}
