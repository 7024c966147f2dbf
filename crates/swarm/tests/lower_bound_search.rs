//! Holds the bound against the best of all schedules, for all fleets of up to four hosts and four chunks.
//!
//! Time goes in slots. Of every fleet two kinds of schedules are searched, each completely. *Parallel*: in a slot of C a link
//! of rate r moves r whole chunks side by side. *One after another*: in a slot of C/2 a host of rate 2 moves a chunk,
//! and one of rate 1 half of one, which goes on in the next slot; hosts may also wait. The search asks for ever more slots
//! until they are enough. What it rules out early it does by counting: whoever lacks more than can come in, or all together
//! more than can be sent, is late.

use std::collections::HashMap;
use std::time::Duration;

use smallvec::SmallVec;
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
        let parallel = Search::new(self, 1).least_slots();
        let halves = Search::new(self, 2).least_slots();
        (Duration::from_secs(1) * parallel).min(Duration::from_millis(500) * halves)
    }
}

/// What sends one chunk at a time, `slots` long.
#[derive(Clone, Copy, Debug)]
struct Port {
    /// The seeder is the one after the last host.
    owner: usize,
    slots: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct State {
    /// By host, four bits each: the chunks it holds.
    held: u16,
    /// Likewise, what is half on its way and arrives with the next slot.
    coming: u16,
    /// Ports that are taken in the next slot.
    taken: u8,
}

struct Search {
    hosts: usize,
    chunks: u32,
    ports: Vec<Port>,
    /// What a host can receive in a slot, in streams of the slowest kind.
    down: Vec<u32>,
    /// Streams of the slowest kind that a copy counts as, by how many slots it takes.
    weight: [u32; 3],
    uplinks: Vec<u64>,
    permutations: Vec<[u16; 16]>,
    /// The most slots that were not enough.
    failed: HashMap<State, u32>,
}

impl Search {
    fn new(fleet: &Fleet, parts: u64) -> Self {
        let hosts = fleet.uplinks.len();
        let rates = fleet.uplinks.iter().copied().chain([fleet.seeder]).enumerate();
        let ports = rates.flat_map(|(owner, rate)| {
            let (count, slots) = match (parts, rate) {
                (1, rate) => (rate, 1),
                (_, 1) => (1, 2),
                (_, rate) => (rate / 2, 1),
            };
            (0..count).map(move |_| Port { owner, slots })
        });
        Self {
            hosts,
            chunks: fleet.chunks,
            ports: ports.collect(),
            down: fleet
                .uplinks
                .iter()
                .map(|rate| u32::try_from(rate * fleet.down).unwrap())
                .collect(),
            weight: if parts == 1 { [0, 1, 0] } else { [0, 2, 1] },
            uplinks: fleet.uplinks.clone(),
            permutations: permutations(fleet.chunks),
            failed: HashMap::new(),
        }
    }

    fn least_slots(&mut self) -> u32 {
        let start = State {
            held: 0,
            coming: 0,
            taken: 0,
        };
        (1..)
            .find(|slots| self.within(start, *slots))
            .expect("a seeder alone comes to an end")
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
        let after = State {
            held: state.held | state.coming,
            coming: 0,
            taken: 0,
        };
        self.choose(state, 0, after, (0, 0), self.received(state), &mut next);
        next.sort_unstable();
        next.dedup();
        // What has most is most likely to be enough.
        next.sort_by_key(|state| std::cmp::Reverse((state.held.count_ones(), state.coming.count_ones())));
        if next.into_iter().any(|next| self.within(next, slots - 1)) {
            return true;
        }
        self.failed.insert(state, slots);
        false
    }

    /// Streams that each host is receiving.
    fn received(&self, state: State) -> [u32; 4] {
        std::array::from_fn(|host| (state.coming >> (4 * host) & 15).count_ones() * self.weight[2])
    }

    /// Every way in which the ports from `port` on can begin something. `begun` has what the ports before have, and which of
    /// them wait.
    fn choose(
        &self,
        state: State,
        port: usize,
        after: State,
        begun: (u16, u8),
        received: [u32; 4],
        next: &mut Vec<State>,
    ) {
        let (cells, waiting) = begun;
        let Some(Port { slots, .. }) = self.ports.get(port).copied() else {
            // With nothing but whole slots, who can send something loses nothing by it.
            let whole = self.ports.iter().all(|port| port.slots == 1);
            let could =
                |port: usize| waiting >> port & 1 == 1 && !self.options(state, port, cells, received).is_empty();
            if !(whole && (0..self.ports.len()).any(could)) {
                next.push(after);
            }
            return;
        };
        if state.taken >> port & 1 == 0 {
            for (host, cell) in self.options(state, port, cells, received) {
                let mut after = after;
                if slots == 1 {
                    after.held |= cell;
                } else {
                    after.coming |= cell;
                    after.taken |= 1 << port;
                }
                let mut received = received;
                received[host] += self.weight[slots as usize];
                self.choose(state, port + 1, after, (cells | cell, waiting), received, next);
            }
        }
        self.choose(state, port + 1, after, (cells, waiting | 1 << port), received, next);
    }

    /// What a port can send to whom.
    fn options(&self, state: State, port: usize, cells: u16, received: [u32; 4]) -> SmallVec<[(usize, u16); 16]> {
        let Port { owner, slots } = self.ports[port];
        let holds = if owner == self.hosts {
            15
        } else {
            state.held >> (4 * owner) & 15
        };
        let weight = self.weight[slots as usize];
        let open = |host: &usize| *host != owner && received[*host] + weight <= self.down[*host];
        let hosts = (0..self.hosts).filter(open);
        let all = hosts.flat_map(|host| (0..self.chunks).map(move |chunk| (host, chunk)));
        let held = all.filter(|(_, chunk)| holds >> chunk & 1 == 1);
        let named = held.map(|(host, chunk)| (host, 1_u16 << (4 * host as u32 + chunk)));
        named
            .filter(|(_, cell)| (state.held | state.coming | cells) & cell == 0)
            .collect()
    }

    fn is_late(&self, state: State, slots: u32) -> bool {
        let missing = self.all() & !state.held;
        let each = |host: usize| (missing >> (4 * host) & 15).count_ones();
        let per_copy = self.weight[1].max(self.weight[2]);
        if slots == 0
            || (0..self.hosts).any(|host| each(host) * per_copy > self.down[host] * slots + state.coming.count_ones())
        {
            return true;
        }
        // Halves that can be sent, by those who hold something now from now on, by all others from the next slot on.
        let sends = |port: &Port| {
            let idle = port.owner < self.hosts && state.held >> (4 * port.owner) & 15 == 0;
            (slots - u32::from(idle)) * (3 - u32::from(port.slots))
        };
        let halves: u32 = self.ports.iter().map(sends).sum();
        let still = missing.count_ones() * 2 - state.coming.count_ones();
        still > halves || self.is_rare(state, slots)
    }

    /// Whether some chunk cannot reach all even if nothing else is sent and every holder is as fast as the fastest.
    fn is_rare(&self, state: State, slots: u32) -> bool {
        let ports = |owner: usize| self.ports.iter().filter(move |port| port.owner == owner).count() as u32;
        let of_seeder = ports(self.hosts);
        let of_host = (0..self.hosts).map(ports).max().unwrap_or(0);
        let grown = |holders: u32, coming: u32, slots: u32| {
            (0..slots)
                .fold((holders, coming), |(holders, coming), _| {
                    (holders * (1 + of_host) + of_seeder + coming, 0)
                })
                .0
        };
        let hosts = self.hosts as u32;
        let of_chunk = |field: u16, chunk: u32| {
            (0..self.hosts)
                .filter(|host| field >> (4 * host) >> chunk & 1 == 1)
                .count() as u32
        };
        let mut fresh = 0_u32;
        for chunk in 0..self.chunks {
            let (held, coming) = (of_chunk(state.held, chunk), of_chunk(state.coming, chunk));
            if held + coming == 0 {
                fresh += 1;
            } else if grown(held, coming, slots) < hosts {
                return true;
            }
        }
        // The last of those that nobody has begins after all others.
        let waits = fresh.max(1).div_ceil(of_seeder) - 1;
        let whole = self.ports.iter().all(|port| port.slots == 1);
        whole && fresh > 0 && (waits >= slots || grown(0, 0, slots - waits) < hosts)
    }

    /// One of all states that differ only by the names of chunks and of hosts with equal links.
    fn canonical(&self, state: State) -> State {
        let rename = |names: &[u16; 16]| {
            let mut rows: [(u64, u16, u16, u8); 4] = std::array::from_fn(|host| {
                let nibble = |field: u16| names[usize::from(field >> (4 * host) & 15)];
                let own = self.ports.iter().enumerate().filter(|(_, port)| port.owner == host);
                let taken = own.fold(0, |all, (index, _)| all << 1 | (state.taken >> index & 1));
                let rate = self.uplinks.get(host).copied().unwrap_or(0);
                (rate, nibble(state.held), nibble(state.coming), taken)
            });
            rows.sort_unstable_by(|a, b| b.cmp(a));
            let mut renamed = State {
                held: 0,
                coming: 0,
                taken: 0,
            };
            for (host, (_, held, coming, taken)) in rows.into_iter().enumerate() {
                renamed.held |= held << (4 * host);
                renamed.coming |= coming << (4 * host);
                let own = self.ports.iter().enumerate().filter(|(_, port)| port.owner == host);
                let count = own.clone().count();
                for (place, (index, _)) in own.enumerate() {
                    renamed.taken |= (taken >> (count - 1 - place) & 1) << index;
                }
            }
            let of_seeder = self
                .ports
                .iter()
                .enumerate()
                .filter(|(_, port)| port.owner == self.hosts);
            of_seeder.for_each(|(index, _)| renamed.taken |= state.taken & 1 << index);
            renamed
        };
        self.permutations.iter().map(rename).max().expect("there is one")
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
