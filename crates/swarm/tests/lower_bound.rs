//! The lower bound: published values, what may never lower it, and schedules that must not beat it.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]
#![expect(clippy::disallowed_types, reason = "one test prints how long it took")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use proptest::prelude::*;
use swarm::lower_bound::{BoundedHost, BoundedSeeder, BoundedSwarm, Partition};
use swarm::{ByteRate, Bytes};

const CHUNK: u64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);

/// Chunks a second.
fn rate(rate: f64) -> ByteRate {
    ByteRate::from_bytes_per_second((rate * CHUNK as f64) as u64).unwrap()
}

fn host(uplink: f64, downlink: f64) -> BoundedHost {
    BoundedHost {
        uplink: rate(uplink),
        downlink: rate(downlink),
        joins_after: Duration::ZERO,
        serves_until: Duration::MAX,
        expected: true,
    }
}

fn seeder(uplink: f64) -> BoundedSeeder {
    BoundedSeeder {
        uplink: rate(uplink),
        sends_after: Duration::ZERO,
    }
}

/// Hosts of rate 1 both ways.
fn equal(hosts: usize, chunks: u64, uplink: f64) -> BoundedSwarm {
    BoundedSwarm {
        build: Bytes::new(chunks * CHUNK),
        chunk: Bytes::new(CHUNK),
        latency: Duration::ZERO,
        lead: Duration::ZERO,
        burst: Bytes::new(0),
        seeders: vec![seeder(uplink)],
        hosts: vec![host(1.0, 1.0); hosts],
        partitions: Vec::new(),
    }
}

fn makespan(swarm: &BoundedSwarm) -> Duration {
    swarm.bounds().makespan()
}

#[test]
fn equal_links_give_the_published_bound() {
    for (hosts, log2) in [(1, 0), (2, 1), (3, 1), (4, 2), (5000, 12), (8191, 12), (8192, 13)] {
        let expected = SECOND * (64 + log2);
        assert_eq!(makespan(&equal(hosts, 64, 1.0)), expected, "{hosts} hosts");
    }
}

#[test]
fn one_byte_more_does_not_jump_and_never_lowers_it() {
    let mut swarm = equal(1000, 64, 1.0);
    let whole = makespan(&swarm);
    for bytes in [1, 2, CHUNK / 2, CHUNK - 1] {
        swarm.build = Bytes::new(64 * CHUNK + bytes);
        let more = makespan(&swarm);
        assert!(
            more >= whole && more <= whole + SECOND,
            "{more:?} for {bytes} bytes more than {whole:?}"
        );
    }
    swarm.build = Bytes::new(65 * CHUNK);
    assert_eq!(makespan(&swarm), whole + SECOND);
    swarm.build = Bytes::new(1);
    assert!(makespan(&swarm) > Duration::ZERO);
}

#[test]
fn the_short_chunk_may_go_last() {
    // The seeder sends the whole chunk to one host, who passes it on, and then the short one to both: 2 is reached.
    let mut swarm = equal(2, 1, 1.0);
    swarm.hosts = vec![host(1.0, 2.0); 2];
    swarm.build = Bytes::new(CHUNK + 1000);
    assert_eq!(makespan(&swarm), SECOND * 2);
    // One that is hardly shorter does not help: either goes last, and then from one to the other.
    swarm.build = Bytes::new(2 * CHUNK - 1000);
    assert_eq!(makespan(&swarm), SECOND * 3 - Duration::from_millis(2));
}

#[test]
fn copies_of_a_fast_seeder_finish_one_after_another() {
    // It alone serves three hosts in 1.5, the first of which has nothing to do.
    let mut swarm = equal(3, 1, 2.0);
    swarm.hosts = vec![host(1.0, 2.0); 3];
    assert_eq!(makespan(&swarm), SECOND * 3 / 2);
    let mut swarm = equal(12, 1, 10.0);
    swarm.hosts = vec![host(1.0, 20.0); 12];
    assert_eq!(makespan(&swarm), SECOND * 11 / 10);
    // Nobody gets a chunk faster than a downlink carries it, though all get it at a time.
    swarm.hosts = vec![host(1.0, 1.0); 12];
    swarm.seeders = vec![seeder(100.0)];
    assert_eq!(makespan(&swarm), SECOND);
}

#[test]
fn nobody_sends_before_it_holds_a_chunk() {
    // Four chunks for 300 hosts from a seeder as fast as 16: without the ramp 300·4/316 = 3.8 chunk times would do.
    let mut swarm = equal(300, 4, 16.0);
    swarm.hosts = vec![host(1.0, 2.0); 300];
    let bound = makespan(&swarm);
    assert!(bound > SECOND * 6 && bound < SECOND * 8, "{bound:?}");
}

#[test]
fn several_seeders_are_no_better_than_one_with_all_their_uplinks() {
    let one = makespan(&equal(1000, 64, 4.0));
    let mut four = equal(1000, 64, 1.0);
    four.seeders = vec![seeder(1.0); 4];
    assert!(makespan(&four) >= one && makespan(&four) <= one + SECOND);
}

#[test]
fn hosts_of_which_nothing_is_expected_are_capacity_and_not_receivers() {
    let mut swarm = equal(20, 64, 1.0);
    swarm.hosts[7] = host(0.1, 0.1);
    assert_eq!(makespan(&swarm), SECOND * 640);
    swarm.hosts[7].expected = false;
    assert_eq!(makespan(&swarm), SECOND * (64 + 4));
    // With nobody to help, the seeder sends every copy.
    for host in &mut swarm.hosts {
        host.serves_until = Duration::ZERO;
    }
    assert_eq!(makespan(&swarm), SECOND * 64 * 19);
    swarm.hosts.iter_mut().for_each(|host| host.expected = false);
    assert_eq!(swarm.bounds().expected(), 0);
    assert_eq!(makespan(&swarm), Duration::ZERO);
}

#[test]
fn each_host_has_its_own_bound_and_a_late_one_counts_from_its_joining() {
    let mut swarm = equal(100, 64, 1.0);
    swarm.hosts[1] = host(0.5, 0.25);
    swarm.hosts[2].joins_after = SECOND * 600;
    let bounds = swarm.bounds();
    assert_eq!(bounds.of_host(0), SECOND * 64);
    assert_eq!(bounds.of_host(1), SECOND * 256);
    assert_eq!(bounds.of_host(2), SECOND * 64);
    assert_eq!(bounds.finish(), SECOND * 664);
    // The late one may be the first by latency, the slow one is the last.
    assert_eq!(bounds.of_rank(1), SECOND * 64);
    assert_eq!(bounds.of_rank(2), SECOND * 64);
    assert_eq!(bounds.of_rank(99), SECOND * (64 + 6));
    assert_eq!(bounds.makespan(), SECOND * 256);
    // Where all are late, all of the bound is.
    swarm.hosts = vec![host(1.0, 1.0); 100];
    let prompt = swarm.bounds().makespan();
    swarm.hosts.iter_mut().for_each(|host| host.joins_after = SECOND * 3600);
    assert_eq!(swarm.bounds().makespan(), prompt);
    assert_eq!(swarm.bounds().finish(), prompt + SECOND * 3600);
}

#[test]
fn a_late_host_gets_from_all_what_the_seeder_alone_could_not_send() {
    let mut swarm = equal(100, 64, 0.5);
    swarm.hosts[5] = BoundedHost {
        joins_after: SECOND * 1000,
        ..host(1.0, 10.0)
    };
    let late = swarm.bounds().of_host(5);
    assert_eq!(late, Duration::from_millis(6400));
    // Two hosts: there is nobody but the seeder and the other one.
    swarm.hosts = vec![
        host(0.25, 10.0),
        BoundedHost {
            joins_after: SECOND * 1000,
            ..host(1.0, 10.0)
        },
    ];
    assert_eq!(swarm.bounds().of_host(1).as_secs(), 64 * 4 / 3);
}

#[test]
fn latency_is_on_the_way_of_every_hop_but_holds_up_no_sender() {
    let mut swarm = equal(1, 8, 1.0);
    swarm.latency = Duration::from_millis(7);
    assert_eq!(makespan(&swarm), Duration::from_millis(8007));
    // One chunk and a delay as long as it takes to send: copies arrive at 2, 3, 4, … of the seeder, and two after a host has it.
    // Two hosts have it at 3, four at 4 (the seeder's third and the first's first), seven at 5.
    for (hosts, at) in [(1, 2), (2, 3), (4, 4), (5, 5), (7, 5), (8, 6)] {
        let mut swarm = equal(hosts, 1, 1.0);
        swarm.latency = SECOND;
        assert_eq!(makespan(&swarm), SECOND * at, "{hosts} hosts");
    }
}

#[test]
fn a_zone_without_a_seeder_gets_its_build_over_what_leads_into_it() {
    let mut swarm = equal(300, 64, 1.0);
    swarm.partitions = vec![Partition {
        out: Some(rate(0.5)),
        into: Some(rate(0.25)),
        latency: Duration::ZERO,
        seeder_groups: vec![Some(0)],
        host_groups: (0..300).map(|host| host % 3).collect(),
    }];
    let bounds = swarm.bounds();
    assert_eq!(bounds.of_host(0), SECOND * 64, "beside the seeder");
    assert_eq!(bounds.of_host(1), SECOND * 256, "in another zone");
    assert!(bounds.of_rank(100) < SECOND * 80);
    // One zone after the other could be served, so the first host of the second group comes a chunk later.
    assert!(bounds.of_rank(101) >= SECOND * 256);
    assert!(bounds.makespan() >= SECOND * 256 && bounds.makespan() < SECOND * 270);
}

#[test]
fn racks_double_by_what_leads_out_of_them() {
    // 16 racks of 8: the rarest chunk goes from rack to rack at their pace, four times after the first.
    let mut swarm = equal(128, 64, 1.0);
    swarm.partitions = vec![Partition {
        out: Some(rate(0.5)),
        into: Some(rate(8.0)),
        latency: Duration::ZERO,
        seeder_groups: vec![None],
        host_groups: (0..128).map(|host| host / 8).collect(),
    }];
    let bound = makespan(&swarm);
    assert!(bound >= SECOND * (64 + 7), "{bound:?}");
    let mut slow = swarm.clone();
    slow.partitions[0].out = Some(rate(0.05));
    assert!(makespan(&slow) > SECOND * 400, "{:?}", makespan(&slow));
}

#[test]
fn nobody_waits_for_nothing() {
    assert_eq!(makespan(&equal(0, 8, 1.0)), Duration::ZERO);
    assert_eq!(makespan(&equal(10, 0, 1.0)), Duration::ZERO);
    let mut alone = equal(10, 8, 1.0);
    alone.seeders.clear();
    assert_eq!(makespan(&alone), Duration::ZERO);
}

#[test]
fn links_of_one_byte_and_of_a_terabit_in_one_fleet_and_a_year_of_it() {
    let link = |bytes| ByteRate::from_bytes_per_second(bytes).unwrap();
    let mut swarm = equal(1000, 64, 1.0);
    swarm.build = Bytes::new(10_000_000_000);
    swarm.hosts[0] = BoundedHost {
        uplink: link(1),
        downlink: link(1),
        ..host(1.0, 1.0)
    };
    swarm.hosts[1] = BoundedHost {
        uplink: link(125_000_000_000),
        downlink: link(125_000_000_000),
        ..host(1.0, 1.0)
    };
    assert_eq!(makespan(&swarm), SECOND * 4_000_000_000 * 5 / 2);
    swarm.hosts[2].joins_after = SECOND * 365 * 86_400;
    assert!(swarm.bounds().of_host(2) > Duration::ZERO);
}

/// A million hosts: too fast to need patience. Prints how long each kind of fleet takes.
#[test]
fn a_million_hosts_take_no_time_worth_a_name() {
    for (name, uplink, latency) in [
        ("equal", 1.0, 0),
        ("fast seeder", 1234.567, 0),
        ("far", 1.0, 50_000),
        ("fast and far", 777.7, 333),
    ] {
        let mut swarm = equal(1_000_000, 640, uplink);
        swarm.build = Bytes::new(640 * CHUNK + 17);
        swarm.latency = Duration::from_millis(latency);
        for (index, host) in swarm.hosts.iter_mut().enumerate() {
            host.uplink = rate(0.5 + (index % 1000) as f64 / 1000.0);
        }
        let begun = std::time::Instant::now();
        let bounds = swarm.bounds();
        let of_bounds = begun.elapsed();
        let ranks: Duration = (1..=1_000_000).map(|rank| bounds.of_rank(rank)).max().unwrap();
        println!("{name}: {of_bounds:?}, with all ranks {:?}; {ranks:?}", begun.elapsed());
        assert_eq!(ranks, bounds.makespan());
    }
}

/// A fleet of any kind.
fn fleet() -> impl Strategy<Value = BoundedSwarm> {
    let links = (1_u32..40, 1_u32..80);
    let late = prop_oneof![4 => Just(0_u64), 1 => 0..20_000_u64];
    let until = prop_oneof![6 => Just(None), 1 => (0..10_000_u64).prop_map(Some)];
    let one =
        (links, late, until, prop::bool::weighted(0.8)).prop_map(|((up, down), late, until, expected)| BoundedHost {
            joins_after: Duration::from_millis(late),
            serves_until: until.map_or(Duration::MAX, Duration::from_millis),
            expected,
            ..host(f64::from(up) / 10.0, f64::from(down) / 10.0)
        });
    let seeders = prop::collection::vec((1_u32..80, prop_oneof![Just(0_u64), 0..5000_u64]), 1..4);
    let latency = prop_oneof![Just(0_u64), 0..3000_u64];
    let groups = prop::option::of((1_u32..5, 1_u32..60, 1_u32..60, 0..2000_u64, any::<bool>()));
    (
        1..8 * CHUNK,
        seeders,
        prop::collection::vec(one, 1..14),
        latency,
        groups,
    )
        .prop_map(|(build, seeders, hosts, latency, groups)| {
            let latency = Duration::from_millis(latency);
            let partition = groups.map(|(count, out, into, more, zones)| Partition {
                out: Some(rate(f64::from(out) / 10.0)),
                into: Some(rate(f64::from(into) / 10.0)),
                latency: latency + Duration::from_millis(more),
                seeder_groups: (0_u32..)
                    .take(seeders.len())
                    .map(|seeder| zones.then_some(seeder % count))
                    .collect(),
                host_groups: (0_u32..).take(hosts.len()).map(|host| host % count).collect(),
            });
            let seeders = seeders.into_iter().map(|(uplink, after)| BoundedSeeder {
                sends_after: Duration::from_millis(after),
                ..seeder(f64::from(uplink) / 10.0)
            });
            BoundedSwarm {
                build: Bytes::new(build),
                latency,
                seeders: seeders.collect(),
                hosts,
                partitions: partition.into_iter().collect(),
                ..equal(0, 0, 1.0)
            }
        })
}

/// Every bound of a swarm: of its hosts, ranks, and the end.
fn all(swarm: &BoundedSwarm) -> Vec<Duration> {
    let bounds = swarm.bounds();
    let own = (0..swarm.hosts.len()).map(|host| bounds.of_host(host));
    let ranks = (1..=bounds.expected()).map(|rank| bounds.of_rank(rank));
    own.chain(ranks).chain([bounds.finish()]).collect()
}

fn none_is_lower(before: &BoundedSwarm, after: &BoundedSwarm) -> Result<(), TestCaseError> {
    let (before, after) = (all(before), all(after));
    prop_assert!(
        before.iter().zip(&after).all(|(before, after)| before <= after),
        "{before:?} then {after:?}"
    );
    Ok(())
}

proptest! {
    #[test]
    fn a_bigger_build_never_lowers_a_bound(swarm in fleet(), more in 1..3 * CHUNK) {
        let mut bigger = swarm.clone();
        bigger.build = Bytes::new(swarm.build.get() + more);
        none_is_lower(&swarm, &bigger)?;
        bigger.build = Bytes::new(swarm.build.get() + 1);
        none_is_lower(&swarm, &bigger)?;
        bigger.build = Bytes::new(swarm.build.get().div_ceil(CHUNK) * CHUNK + 1);
        none_is_lower(&swarm, &bigger)?;
    }

    #[test]
    fn slower_links_and_longer_paths_never_lower_a_bound(swarm in fleet(), which in any::<prop::sample::Index>(), percent in 1_u64..100) {
        let slower = |rate: ByteRate| ByteRate::from_bytes_per_second(rate.bytes_per_second() * percent / 100 + 1).unwrap().min(rate);
        let mut less = swarm.clone();
        let host = which.index(swarm.hosts.len());
        less.hosts[host].uplink = slower(less.hosts[host].uplink);
        none_is_lower(&swarm, &less)?;
        less.hosts[host].downlink = slower(less.hosts[host].downlink);
        none_is_lower(&swarm, &less)?;
        let seeder = which.index(swarm.seeders.len());
        less.seeders[seeder].uplink = slower(less.seeders[seeder].uplink);
        less.seeders[seeder].sends_after += Duration::from_millis(percent);
        none_is_lower(&swarm, &less)?;
        less.latency += Duration::from_millis(percent);
        less.partitions.iter_mut().for_each(|partition| partition.latency += Duration::from_millis(percent));
        none_is_lower(&swarm, &less)?;
        for partition in &mut less.partitions {
            partition.into = partition.into.map(slower);
            partition.out = partition.out.map(slower);
        }
        none_is_lower(&swarm, &less)?;
        none_is_lower(&BoundedSwarm { partitions: Vec::new(), ..swarm.clone() }, &swarm)?;
    }

    #[test]
    fn more_to_serve_never_lowers_a_makespan(swarm in fleet(), hosts in 1_usize..200, chunks in 1_u64..20, seeder in 1_u32..300, which in any::<prop::sample::Index>()) {
        let mut more = swarm.clone();
        let host = which.index(swarm.hosts.len());
        if swarm.hosts[host].joins_after == swarm.hosts.iter().map(|host| host.joins_after).min().unwrap() {
            more.hosts[host].expected = true;
            prop_assert!(makespan(&more) >= makespan(&swarm));
        }
        let seeder = f64::from(seeder) / 10.0;
        let (less, more) = (equal(hosts, chunks, seeder), equal(hosts + 1, chunks, seeder));
        prop_assert!(makespan(&more) >= makespan(&less), "{:?} {:?}", makespan(&more), makespan(&less));
    }

    #[test]
    fn no_greedy_schedule_beats_a_bound(swarm in fleet(), order in any::<u64>(), at_a_time in 1_usize..4) {
        let latencies = greedy(&swarm, order, at_a_time);
        let bounds = swarm.bounds();
        let mut ranked: Vec<Duration> = Vec::new();
        for (host, latency) in latencies.iter().enumerate() {
            prop_assert!(*latency >= bounds.of_host(host), "host {host} after {latency:?}, bound {:?}", bounds.of_host(host));
            if swarm.hosts[host].expected {
                ranked.push(*latency);
            }
        }
        ranked.sort_unstable();
        for (rank, latency) in (1..).zip(&ranked) {
            prop_assert!(*latency >= bounds.of_rank(rank), "rank {rank} after {latency:?}, bound {:?}", bounds.of_rank(rank));
        }
    }
}

/// Chunks on their way, by sender, receiver and chunk, with the bytes that are left.
type Transfers = BTreeMap<(usize, usize, usize), f64>;

/// A schedule: whoever can sends up to so many copies at a time, which share links in a random but feasible way. The latency of
/// each host.
fn greedy(swarm: &BoundedSwarm, order: u64, at_a_time: usize) -> Vec<Duration> {
    let mut schedule = Schedule::new(swarm, order, at_a_time);
    while schedule.done.contains(&f64::MAX) {
        schedule.begin_transfers();
        schedule.pass_to_next_event();
        schedule.end_transfers();
        schedule.take_arrivals();
    }
    let latency = |(host, done): (&BoundedHost, f64)| Duration::from_secs_f64(done - seconds(host.joins_after));
    swarm.hosts.iter().zip(schedule.done).map(latency).collect()
}

/// How far a schedule has come.
struct Schedule<'a> {
    swarm: &'a BoundedSwarm,
    order: u64,
    at_a_time: usize,
    now: f64,
    held: Vec<BTreeSet<usize>>,
    /// When each host had all.
    done: Vec<f64>,
    transfers: Transfers,
    /// Arrivals after the delay: nanoseconds, host and chunk.
    arriving: BinaryHeap<Reverse<(u64, usize, usize)>>,
}

impl<'a> Schedule<'a> {
    fn new(swarm: &'a BoundedSwarm, order: u64, at_a_time: usize) -> Self {
        let hosts = swarm.hosts.len();
        Self {
            swarm,
            order,
            at_a_time,
            now: 0.0,
            held: vec![BTreeSet::new(); hosts],
            done: vec![f64::MAX; hosts],
            transfers: Transfers::new(),
            arriving: BinaryHeap::new(),
        }
    }

    /// At random, 0 to 1.
    fn draw(&mut self) -> f64 {
        self.order = self
            .order
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.order >> 33) as f64 / f64::from(1_u32 << 31)
    }

    fn chunks(&self) -> usize {
        usize::try_from(self.swarm.build.get().div_ceil(CHUNK)).unwrap()
    }

    /// Members are hosts, and the seeders after them.
    fn serves(&self, member: usize) -> bool {
        match member.checked_sub(self.swarm.hosts.len()) {
            Some(seeder) => self.now >= seconds(self.swarm.seeders[seeder].sends_after),
            None => self.now < seconds(self.swarm.hosts[member].serves_until),
        }
    }

    /// Whoever may send one more sends somebody the useful chunk of which there are fewest copies.
    fn begin_transfers(&mut self) {
        let (hosts, swarm, now) = (self.swarm.hosts.len(), self.swarm, self.now);
        let sending: BTreeSet<usize> = (0..hosts + swarm.seeders.len())
            .filter(|from| self.serves(*from))
            .collect();
        self.transfers.retain(|(from, _, _), _| sending.contains(from));
        let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
        for from in sending {
            for to in (0..hosts).filter(|to| *to != from && now >= seconds(swarm.hosts[*to].joins_after)) {
                pairs.push((self.draw(), from, to));
            }
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, from, to) in pairs {
            let sends = self.transfers.keys().filter(|(sender, _, _)| *sender == from).count();
            if sends < self.at_a_time
                && let Some(chunk) = self.rarest(from, to)
            {
                let length = (swarm.build.get() - chunk as u64 * CHUNK).min(CHUNK) as f64;
                self.transfers.insert((from, to, chunk), length);
            }
        }
    }

    /// What `from` has and nobody sends to `to` yet.
    fn rarest(&self, from: usize, to: usize) -> Option<usize> {
        let mut on_its_way = self.transfers.keys().map(|(_, other, chunk)| (*other, *chunk));
        let begun: BTreeSet<(usize, usize)> = on_its_way
            .by_ref()
            .chain(self.arriving.iter().map(|Reverse((_, other, chunk))| (*other, *chunk)))
            .collect();
        let has = |chunk: &usize| from >= self.held.len() || self.held[from].contains(chunk);
        let useful = (0..self.chunks())
            .filter(has)
            .filter(|chunk| !self.held[to].contains(chunk) && !begun.contains(&(to, *chunk)));
        useful.min_by_key(|chunk| self.held.iter().filter(|held| held.contains(chunk)).count())
    }

    /// Bytes move until something changes.
    fn pass_to_next_event(&mut self) {
        let rates = share(self.swarm, &self.transfers);
        let hosts = self.swarm.hosts.iter();
        let joins = hosts.clone().map(|host| seconds(host.joins_after));
        let starts = self.swarm.seeders.iter().map(|seeder| seconds(seeder.sends_after));
        let ends = hosts.filter(|host| host.serves_until < Duration::MAX);
        let ends = ends.map(|host| seconds(host.serves_until));
        let moving = self.transfers.iter().filter(|(key, _)| rates[*key] > 0.0);
        let through = moving.map(|(key, left)| self.now + left / rates[key]);
        let arrives = self.arriving.peek().map(|Reverse((at, _, _))| *at as f64 / 1e9);
        let next = joins
            .chain(starts)
            .chain(ends)
            .filter(|at| *at > self.now)
            .chain(through)
            .chain(arrives)
            .fold(f64::MAX, f64::min);
        assert!(next < f64::MAX, "nothing happens any more");
        for (key, left) in &mut self.transfers {
            *left -= rates[key] * (next - self.now);
        }
        self.now = next.max(self.now);
    }

    /// What has left arrives after the delay of its way.
    fn end_transfers(&mut self) {
        let ended: Vec<_> = self
            .transfers
            .extract_if(.., |_, left| *left <= 1e-3)
            .map(|(key, _)| key)
            .collect();
        for (from, to, chunk) in ended {
            let elsewhere = |partition: &Partition| {
                let group = match from.checked_sub(self.held.len()) {
                    Some(seeder) => partition.seeder_groups[seeder],
                    None => Some(partition.host_groups[from]),
                };
                (group != Some(partition.host_groups[to])).then_some(partition.latency)
            };
            let delay = self.swarm.partitions.iter().find_map(elsewhere);
            let at = self.now + seconds(delay.unwrap_or(self.swarm.latency));
            // Rounded up, as an event of the simulation would be, and with what was taken for arrived.
            self.arriving.push(Reverse(((at * 1e9) as u64 + 200_000, to, chunk)));
        }
    }

    fn take_arrivals(&mut self) {
        while let Some(Reverse((at, to, chunk))) = self.arriving.peek().copied()
            && at as f64 / 1e9 <= self.now
        {
            self.arriving.pop();
            self.held[to].insert(chunk);
            if self.held[to].len() == self.chunks() && self.done[to] == f64::MAX {
                self.done[to] = at as f64 / 1e9;
            }
        }
    }
}

const fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Sender, receiver and chunk of a transfer.
type Key = (usize, usize, usize);

/// A link's capacity, and who passes it.
type SharedLink = (f64, Vec<Key>);

/// Rates that overload no link and waste little: by water-filling over all links that a transfer passes.
fn share(swarm: &BoundedSwarm, transfers: &Transfers) -> BTreeMap<Key, f64> {
    let hosts = swarm.hosts.len();
    let of = |rate: ByteRate| rate.bytes_per_second() as f64;
    let mut links: BTreeMap<(u8, usize), SharedLink> = BTreeMap::new();
    for key in transfers.keys() {
        let (from, to, _) = *key;
        let uplink = from
            .checked_sub(hosts)
            .map_or_else(|| swarm.hosts[from].uplink, |seeder| swarm.seeders[seeder].uplink);
        links
            .entry((0, from))
            .or_insert_with(|| (of(uplink), Vec::new()))
            .1
            .push(*key);
        links
            .entry((1, to))
            .or_insert_with(|| (of(swarm.hosts[to].downlink), Vec::new()))
            .1
            .push(*key);
        for partition in &swarm.partitions {
            let group = match from.checked_sub(hosts) {
                Some(seeder) => partition.seeder_groups[seeder],
                None => Some(partition.host_groups[from]),
            };
            let into = partition.host_groups[to];
            if group == Some(into) {
                continue;
            }
            if let Some((group, out)) = group.zip(partition.out) {
                links
                    .entry((2, group as usize))
                    .or_insert_with(|| (of(out), Vec::new()))
                    .1
                    .push(*key);
            }
            if let Some(rate) = partition.into {
                links
                    .entry((3, into as usize))
                    .or_insert_with(|| (of(rate), Vec::new()))
                    .1
                    .push(*key);
            }
        }
    }
    let mut rates = BTreeMap::new();
    while rates.len() < transfers.len() {
        let fair = |(capacity, keys): &SharedLink| {
            let taken: f64 = keys.iter().filter_map(|key| rates.get(key)).sum();
            let open = keys.iter().filter(|key| !rates.contains_key(*key)).count();
            (open > 0).then(|| (capacity - taken).max(0.0) / open as f64)
        };
        let least = links.values().filter_map(|link| fair(link).map(|rate| (rate, link)));
        let (rate, link) = least.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let open: Vec<_> = link.1.iter().copied().filter(|key| !rates.contains_key(key)).collect();
        rates.extend(open.into_iter().map(|key| (key, rate)));
    }
    rates
}
