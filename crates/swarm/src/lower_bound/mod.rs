//! What no schedule can beat, to hold latencies against.
//!
//! # Model
//!
//! Seeders hold all of a build of F bytes from the time `sends_after` on. It is cut into chunks of C bytes, the last of
//! which may be shorter (r bytes). A host passes bytes of a chunk on only when it holds the whole chunk, and each copy of a
//! chunk comes from one sender; a copy that is cut short is lost. Otherwise a schedule may do everything: know all, send many
//! copies at a time and share its links among them in any way, at rates that change at any time, and choose every order.
//! In a window of length x a link of rate u passes at most u·(x + lead) bytes on the way up and u·x + burst bytes on the way
//! down; `lead` and `burst` are 0 in virtual time and what the token buckets of a live run let through at once.
//! A byte arrives at least `latency` after it was sent. Nobody sends to a host that has not joined. Below, S(t) is what the
//! seeders together can have sent until t (and t − R stands for t − R + lead), u* and d* are the fastest uplink and downlink of a host, n is a number of
//! expected hosts, and k-th is by time.
//!
//! # Theorems
//!
//! **1. Own links.** A host that joins at J has the build no earlier than J + F/d + latency. What comes to it leaves the
//! seeders or the other hosts after J, so neither before J + F/(sum of all uplinks but its own) + latency. Every chunk
//! leaves a seeder once at least, so neither before the least t with S(t) ≥ F, + latency.
//!
//! **2. Copies.** A seeder of rate u that starts at R has sent at most ⌊u·(t − R)/C⌋ copies of whole chunks until t: each
//! took C bytes of its uplink, however it was shared. The j-th child of a host that holds a chunk since a, in the tree of
//! who got it from whom, has it no earlier than a + max(j·C/u*, C/d*) + latency: until then j copies have left, and one
//! has come in.
//!
//! **3. Growth.** So let seeders' copies of one chunk arrive at T₁ ≤ T₂ ≤ …: until t at most Σⱼ N(t − Tⱼ) hosts hold it, where
//! N(x) = 1 + Σⱼ N(x − max(j·C/u*, C/d*) − latency) for x ≥ 0 and 0 before. Proof: by induction over the tree; the right side is
//! monotone in its times, and they are the earliest. Without latency and with d* ≥ u* that is N(x) = 2^⌊x·u*/C⌋; with
//! latency it is more than 2^⌊x/(C/u* + latency)⌋, since a sender does not wait for a copy to arrive before it sends the next:
//! the postal model (A. Bar-Noy, S. Kipnis: *Designing broadcasting algorithms in the postal model for message-passing systems*,
//! Mathematical Systems Theory 27, 1994). It holds likewise for the first chunk that a host holds, whichever it is.
//!
//! **4. Rare chunk.** Let M = ⌊F/C⌋, and of the M whole chunks let X be the one whose first copy leaves a seeder last. When the
//! j-th copy of X has left, M − 1 + j copies have, so by 2 it is at the seeders' copy number M − 1 + j at the earliest, and
//! by 3 the time at which n hosts hold X, as all must that have the build, follows. For equal links and one
//! seeder as fast as a host that is (M + ⌊log₂ n⌋)·C/u: J. Mundinger, R. Weber, G. Weiss: *Optimal scheduling of
//! peer-to-peer file dissemination*, Journal of Scheduling 11 (2008), who show that it is reached. If there is a short chunk too, let X be
//! the last of all chunks: it is whole, and S(Tⱼ) ≥ F + (j − 1)·C, or it is the short one, S(Tⱼ) ≥ F + (j − 1)·r and 3
//! holds with r for C. The lesser of the two is a bound, and the greater of that and the former.
//!
//! **5. Volume with ramp.** Let A_k be the earliest time at which k hosts can hold any whole chunk (3, with M = 1). What the
//! expected hosts have received of whole chunks until t, seeders or hosts have sent, and hosts only after they held one:
//! n·M·C ≤ S(t) + Σ_k u_(k)·(t − A_k)⁺ at t = end − latency, the fastest uplinks first. Proof: sort the hosts by when they first
//! hold a whole chunk; the k-th does no earlier than A_k; and Σ u·(t − a)⁺ is greatest when early times meet fast uplinks
//! (rearrangement). Hosts that join later or serve only for a while are not sorted but counted by themselves, from A₁ and their
//! own joining on. The same with r for C in A_k bounds n·F. Without the ramp this is R. Kumar, K. W. Ross: *Peer-assisted
//! file distribution: the minimum distribution time*, HOTWEB 2006.
//!
//! **6. Groups.** Where hosts are partitioned into groups (zones, racks) and only so much goes out of a group and into one, make
//! every group without a seeder one host, and every group with one a seeder. A schedule of the hosts is one of the
//! groups: a group passes a chunk on only after it got it whole. So all of the above holds for the groups.
//!
//! **7. Ranks.** 3 to 6 hold for any n hosts that have the build, so with n = k they bound the k-th expected host to have
//! it. Latency counts from a host's joining. Of the first k by latency at least k − late joined with the first, and
//! the k-th latency is no less than the k-th least of the hosts' own bounds (1, and 6 for their groups).
//!
//! All times are in nanoseconds and rounded down, so that a bound is never above the truth.

mod growth;
mod volume;

use std::cmp::Reverse;
use std::time::Duration;

use growth::{Growth, Links};
use volume::{Volume, nanos, transfer_nanos};

use crate::units::{ByteRate, Bytes};

/// A swarm as the bounds see it. All times count from the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundedSwarm {
    /// Size of the build.
    pub build: Bytes,
    /// Length of all chunks but the last.
    pub chunk: Bytes,
    /// The least one-way delay of a path.
    pub latency: Duration,
    /// How much earlier than its rate allows an uplink may have sent something.
    pub lead: Duration,
    /// How much more than its rate allows a downlink may have received.
    pub burst: Bytes,
    /// Who has the build from the beginning.
    pub seeders: Vec<BoundedSeeder>,
    /// Everybody else who sends or receives.
    pub hosts: Vec<BoundedHost>,
    /// How hosts are grouped, each in one group of each partition.
    pub partitions: Vec<Partition>,
}

/// A seeder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundedSeeder {
    /// What it sends at most.
    pub uplink: ByteRate,
    /// When it has the build and can send.
    pub sends_after: Duration,
}

/// A host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundedHost {
    /// What it sends at most.
    pub uplink: ByteRate,
    /// What it receives at most.
    pub downlink: ByteRate,
    /// When it joins. Its latency counts from then.
    pub joins_after: Duration,
    /// Until when it sends: zero for one that serves nothing, or nothing of use; [`Duration::MAX`] for one that stays.
    pub serves_until: Duration,
    /// Whether it is to have the build. The bounds of ranks are of such hosts only.
    pub expected: bool,
}

/// Groups of hosts with links that the hosts of a group share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What a group sends to others at most; not limited where absent.
    pub out: Option<ByteRate>,
    /// What a group receives from others at most; not limited where absent.
    pub into: Option<ByteRate>,
    /// The least one-way delay between two groups.
    pub latency: Duration,
    /// The group of each seeder; none for one that is in no group.
    pub seeder_groups: Vec<Option<u32>>,
    /// The group of each host.
    pub host_groups: Vec<u32>,
}

/// The bounds of a swarm.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Latency of each host, in nanoseconds.
    own: Vec<u64>,
    /// Those of expected hosts, in ascending order.
    ranked: Vec<u64>,
    /// Expected hosts that joined after the first.
    late: usize,
    /// When the first host joins.
    first_join: u64,
    together: Option<Together>,
    finish: u64,
}

/// What bounds those who joined first, by how many they are; see theorems 4 to 6.
#[derive(Clone, Debug)]
struct Together {
    latency: u64,
    build: u128,
    whole: u128,
    of_whole_chunks: Volume,
    of_all_chunks: Volume,
    rare: Rare,
    groups: Vec<GroupBounds>,
}

#[derive(Clone, Debug)]
struct GroupBounds {
    /// Expected hosts that need no other group.
    beside_seeders: usize,
    /// How many such hosts the greatest groups have together: of one, of two, …
    greatest: Vec<usize>,
    bounds: Bounds,
}

impl BoundedSwarm {
    /// Every bound of this swarm. Takes some n·log n for n hosts. A swarm without a seeder has none: all are zero.
    pub fn bounds(&self) -> Bounds {
        let first_join = self.hosts.iter().map(|host| nanos(host.joins_after)).min().unwrap_or(0);
        let links = Links::of(self, first_join);
        let is_prompt = |host: &BoundedHost| host.expected && nanos(host.joins_after) == first_join;
        let (contracted, indices): (Vec<Self>, Vec<Vec<Option<u32>>>) = self
            .partitions
            .iter()
            .map(|partition| self.contract(partition, &is_prompt))
            .unzip();
        let bound = |swarm: Self| {
            let bounds = swarm.bounds();
            (swarm, bounds)
        };
        let contracted: Vec<(Self, Bounds)> = contracted.into_iter().map(bound).collect();
        let own = self.own_bounds(links.as_ref(), &contracted, &indices);
        let mut ranked: Vec<u64> = self.expected().map(|(index, _)| own[index]).collect();
        ranked.sort_unstable();
        let prompt = self.hosts.iter().filter(|host| is_prompt(host)).count();
        let groups = contracted.into_iter().zip(&indices).map(|((_, bounds), indices)| {
            let hosts = self.hosts.iter().zip(indices).filter(|(host, _)| is_prompt(host));
            GroupBounds::new(bounds, hosts.map(|(_, index)| *index))
        });
        let mut bounds = Bounds {
            late: ranked.len() - prompt,
            ranked,
            first_join,
            finish: 0,
            together: links.map(|links| self.together(&links, groups.collect())),
            own,
        };
        let of_own = self
            .expected()
            .map(|(index, host)| nanos(host.joins_after).saturating_add(bounds.own[index]));
        bounds.finish = of_own
            .max()
            .unwrap_or(0)
            .max(first_join.saturating_add(bounds.of_prompt(prompt)));
        bounds
    }

    fn expected(&self) -> impl Iterator<Item = (usize, &BoundedHost)> {
        self.hosts.iter().enumerate().filter(|(_, host)| host.expected)
    }

    /// Theorem 1, and theorem 6 for the host's groups.
    fn own_bounds(
        &self,
        links: Option<&Links<'_>>,
        contracted: &[(Self, Bounds)],
        indices: &[Vec<Option<u32>>],
    ) -> Vec<u64> {
        let Some(links) = links else {
            return vec![0; self.hosts.len()];
        };
        let build = u128::from(self.build.get());
        let received = u128::from(self.build.get().saturating_sub(self.burst.get()));
        let injected = links.seeded.reach(build).saturating_add(links.latency);
        let sends = |host: &BoundedHost| u128::from(host.uplink.bytes_per_second()) * u128::from(host.serves());
        let capacity: u128 = self.hosts.iter().map(sends).sum::<u128>() + links.seeded.final_rate();
        let own = |(index, host): (usize, &BoundedHost)| {
            let joins = nanos(host.joins_after);
            let down = transfer_nanos(received, host.downlink.bytes_per_second().into());
            let up = transfer_nanos(build, capacity - sends(host)).saturating_sub(links.lead);
            let mut has = injected.max(joins.saturating_add(down.max(up)).saturating_add(links.latency));
            for ((swarm, bounds), indices) in contracted.iter().zip(indices) {
                if let Some(group) = indices[index] {
                    let group = group as usize;
                    has = has.max(nanos(swarm.hosts[group].joins_after).saturating_add(bounds.own[group]));
                }
            }
            has.saturating_sub(joins)
        };
        self.hosts.iter().enumerate().map(own).collect()
    }

    fn together(&self, links: &Links<'_>, groups: Vec<GroupBounds>) -> Together {
        let build = self.build.get();
        let chunk = self.chunk.get().min(build).max(1);
        let (chunks, rest) = ((build / chunk).max(1), build % chunk);
        let of_whole_chunks = links.ramp(chunk);
        let tail = (rest > 0).then(|| {
            let last_of = |unit: u64| {
                let copies = (0..).map(move |copy| u128::from(build) + u128::from(unit) * copy);
                let arrivals = copies.map(|bytes| links.seeded.reach(bytes).saturating_add(links.latency));
                links.growth(unit, arrivals)
            };
            (last_of(chunk), last_of(rest))
        });
        Together {
            latency: links.latency,
            build: build.into(),
            whole: u128::from(chunk) * u128::from(chunks),
            of_all_chunks: if rest > 0 {
                links.ramp(rest)
            } else {
                of_whole_chunks.clone()
            },
            of_whole_chunks,
            rare: Rare {
                whole: links.growth(
                    chunk,
                    links
                        .copies(chunk)
                        .skip(usize::try_from(chunks - 1).unwrap_or(usize::MAX)),
                ),
                tail,
            },
            groups,
        }
    }

    /// Theorem 6: the swarm of the groups, and which of its hosts each host is part of; none for those beside a seeder.
    fn contract(&self, partition: &Partition, is_prompt: &dyn Fn(&BoundedHost) -> bool) -> (Self, Vec<Option<u32>>) {
        let seeder_groups = partition.seeder_groups.iter().copied().flatten();
        let groups = partition
            .host_groups
            .iter()
            .copied()
            .chain(seeder_groups)
            .max()
            .map_or(0, |last| last as usize + 1);
        let out = partition.out.map_or(u64::MAX, ByteRate::bytes_per_second);
        // Of each group: what it sends, from when, and whether there is a seeder.
        let mut sends = vec![0_u64; groups];
        let mut seeds_after: Vec<Option<Duration>> = vec![None; groups];
        let mut hosts: Vec<Option<BoundedHost>> = vec![None; groups];
        let mut seeders = Vec::new();
        for (seeder, group) in self.seeders.iter().zip(&partition.seeder_groups) {
            match group {
                None => seeders.push(*seeder),
                Some(group) => {
                    let group = *group as usize;
                    sends[group] = sends[group].saturating_add(seeder.uplink.bytes_per_second());
                    let earlier = seeds_after[group].unwrap_or(Duration::MAX);
                    seeds_after[group] = Some(earlier.min(seeder.sends_after));
                }
            }
        }
        for (host, group) in self.hosts.iter().zip(&partition.host_groups) {
            let group = *group as usize;
            if host.serves() {
                sends[group] = sends[group].saturating_add(host.uplink.bytes_per_second());
            }
            let downlink = partition.into.unwrap_or(RATE_MAX);
            let all = hosts[group].get_or_insert(BoundedHost {
                downlink,
                expected: false,
                ..*host
            });
            all.joins_after = all.joins_after.min(host.joins_after);
            all.serves_until = all.serves_until.max(host.serves_until);
            all.expected |= is_prompt(host);
        }
        let mut index_of = vec![None; groups];
        let mut contracted = Vec::new();
        for group in 0..groups {
            let uplink = ByteRate::from_bytes_per_second(sends[group].min(out)).unwrap_or(RATE_MIN);
            if let Some(sends_after) = seeds_after[group] {
                seeders.push(BoundedSeeder { uplink, sends_after });
            } else if let Some(host) = hosts[group] {
                index_of[group] = u32::try_from(contracted.len()).ok();
                contracted.push(BoundedHost { uplink, ..host });
            }
        }
        let indices = partition
            .host_groups
            .iter()
            .map(|group| index_of[*group as usize])
            .collect();
        let swarm = Self {
            latency: partition.latency,
            seeders,
            hosts: contracted,
            partitions: Vec::new(),
            ..*self
        };
        (swarm, indices)
    }
}

impl BoundedHost {
    fn serves(&self) -> bool {
        !self.serves_until.is_zero()
    }
}

impl Bounds {
    /// The least latency of a host, by its place in [`BoundedSwarm::hosts`], if everything is done for it.
    pub fn of_host(&self, host: usize) -> Duration {
        Duration::from_nanos(self.own[host])
    }

    /// The least latency of the expected host with the `rank`-th shortest, from 1; the longest where there are fewer, zero
    /// where there is none.
    pub fn of_rank(&self, rank: usize) -> Duration {
        let rank = rank.min(self.ranked.len());
        let Some(own) = rank.checked_sub(1).map(|index| self.ranked[index]) else {
            return Duration::ZERO;
        };
        Duration::from_nanos(own.max(self.of_prompt(rank.saturating_sub(self.late))))
    }

    /// The least latency of the expected host with the longest.
    pub fn makespan(&self) -> Duration {
        self.of_rank(self.ranked.len())
    }

    /// When the last expected host can have the build; unlike a latency it does not count from a joining.
    pub fn finish(&self) -> Duration {
        Duration::from_nanos(self.finish)
    }

    /// The hosts of which something is expected.
    pub fn expected(&self) -> usize {
        self.ranked.len()
    }

    /// When `count` of those who joined first can have it, from then.
    fn of_prompt(&self, count: usize) -> u64 {
        let Some(together) = self.together.as_ref().filter(|_| count > 0) else {
            return 0;
        };
        together.time_of(count).saturating_sub(self.first_join)
    }
}

impl Together {
    fn time_of(&self, count: usize) -> u64 {
        let each = count as u128;
        let whole = self.of_whole_chunks.reach(each * self.whole);
        let all = self.of_all_chunks.reach(each * self.build);
        let own = whole
            .max(all)
            .saturating_add(self.latency)
            .max(self.rare.time_of(count));
        let groups = self.groups.iter().map(|groups| groups.time_of(count));
        groups.fold(own, u64::max)
    }
}

impl GroupBounds {
    /// Of expected hosts, each with the group that it is in; none beside a seeder.
    fn new(bounds: Bounds, hosts: impl Iterator<Item = Option<u32>>) -> Self {
        let mut sizes = vec![0_usize; bounds.own.len()];
        let mut beside_seeders = 0;
        for group in hosts {
            match group {
                None => beside_seeders += 1,
                Some(group) => sizes[group as usize] += 1,
            }
        }
        sizes.sort_unstable_by_key(|size| Reverse(*size));
        let mut sum = 0;
        let greatest = sizes.into_iter().map(|size| {
            sum += size;
            sum
        });
        Self {
            beside_seeders,
            greatest: greatest.collect(),
            bounds,
        }
    }

    /// When so many groups can have the build as `count` hosts are in at least.
    fn time_of(&self, count: usize) -> u64 {
        let elsewhere = count.saturating_sub(self.beside_seeders);
        if elsewhere == 0 {
            return 0;
        }
        let groups = self.greatest.partition_point(|hosts| *hosts < elsewhere) + 1;
        // Groups of which something is expected all have a host that joined first.
        self.bounds
            .first_join
            .saturating_add(nanos(self.bounds.of_rank(groups)))
    }
}

/// Theorem 4: who holds the chunk that comes last.
#[derive(Clone, Debug)]
struct Rare {
    /// The last of the whole chunks.
    whole: Growth,
    /// The last of all chunks where one is short: a whole one, or that.
    tail: Option<(Growth, Growth)>,
}

impl Rare {
    fn time_of(&self, count: usize) -> u64 {
        let count = count as u64;
        let last_of_all = self
            .tail
            .as_ref()
            .map(|(whole, short)| whole.time_of(count).min(short.time_of(count)));
        self.whole.time_of(count).max(last_of_all.unwrap_or(0))
    }
}

const RATE_MAX: ByteRate = ByteRate::from_bytes_per_second(u64::MAX).expect("not zero");
const RATE_MIN: ByteRate = ByteRate::from_bytes_per_second(1).expect("not zero");

#[cfg(test)]
mod rules;
