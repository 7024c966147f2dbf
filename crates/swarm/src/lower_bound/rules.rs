//! Small swarms whose bounds are worked out by hand, to the nanosecond: what each term of a theorem is worth, and on which side of an edge.
//!
//! Rates are in bytes a nanosecond, times in nanoseconds, and the latency is 5, so that every figure can be checked in one's head.

use super::*;

pub(super) const LATENCY: u64 = 5;

pub(super) fn rate(bytes_a_nano: u64) -> ByteRate {
    ByteRate::from_bytes_per_second(bytes_a_nano * 1_000_000_000).unwrap()
}

pub(super) const fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// One that is there from the beginning and stays.
pub(super) fn host(uplink: u64, downlink: u64) -> BoundedHost {
    BoundedHost {
        uplink: rate(uplink),
        downlink: rate(downlink),
        joins_after: Duration::ZERO,
        serves_until: Duration::MAX,
        expected: true,
    }
}

/// One that serves nothing.
pub(super) fn taker(downlink: u64) -> BoundedHost {
    BoundedHost {
        serves_until: Duration::ZERO,
        ..host(1000, downlink)
    }
}

pub(super) fn seeder(uplink: u64, after: u64) -> BoundedSeeder {
    BoundedSeeder {
        uplink: rate(uplink),
        sends_after: ns(after),
    }
}

pub(super) fn swarm((build, chunk): (u64, u64), seeders: &[BoundedSeeder], hosts: &[BoundedHost]) -> BoundedSwarm {
    BoundedSwarm {
        build: Bytes::new(build),
        chunk: Bytes::new(chunk),
        latency: ns(LATENCY),
        lead: Duration::ZERO,
        burst: Bytes::new(0),
        seeders: seeders.to_vec(),
        hosts: hosts.to_vec(),
        partitions: Vec::new(),
    }
}

fn ranks(swarm: &BoundedSwarm) -> Vec<u64> {
    let bounds = swarm.bounds();
    (1..=bounds.expected())
        .map(|rank| nanos(bounds.of_rank(rank)))
        .collect()
}

fn owns(swarm: &BoundedSwarm) -> Vec<u64> {
    let bounds = swarm.bounds();
    (0..swarm.hosts.len()).map(|host| nanos(bounds.of_host(host))).collect()
}

#[test]
fn what_links_of_its_own_and_of_all_others_allow() {
    // Of 1000 bytes a seeder of 2 has sent each once after 500. All uplinks together are 2 + 4 + 1 + 8 = 15.
    let mut swarm = swarm(
        (1000, 100),
        &[seeder(2, 0)],
        &[
            // Its downlink takes 1000.
            host(4, 1),
            // Others send it all within 1000 / 14 = 71, and the seeder has not sent each byte before 500.
            host(1, 100),
            // All but its own are 7: 142 after it joined at 600.
            BoundedHost {
                joins_after: ns(600),
                ..host(8, 100)
            },
            // What it could send does not count, for itself nor for others: 1000 / 15 = 66 after 900.
            BoundedHost {
                joins_after: ns(900),
                ..taker(100)
            },
        ],
    );
    assert_eq!(owns(&swarm), [1000 + 5, 500 + 5, 142 + 5, 66 + 5]);
    // What a link lets through at once: 2 · 20 bytes leave the seeder at once, so 480 for the others, and 20 less for those that come late.
    swarm.lead = ns(20);
    assert_eq!(owns(&swarm), [1000 + 5, 480 + 5, 122 + 5, 46 + 5]);
    // A burst of 50 leaves 950 for the downlink.
    swarm.burst = Bytes::new(50);
    assert_eq!(owns(&swarm), [950 + 5, 480 + 5, 122 + 5, 46 + 5]);
    swarm.burst = Bytes::new(2000);
    assert_eq!(owns(&swarm)[0], 480 + 5);
}

#[test]
fn who_joins_before_all_has_gone_out_waits_for_that() {
    // All has left the seeder after 150, so it is there at 155. The 300 bytes of 2 + 1 take 100 from when it joins.
    for (joins, latency) in [(0, 155), (49, 106), (50, 105), (51, 105)] {
        let late = BoundedHost {
            joins_after: ns(joins),
            ..host(1, 1000)
        };
        let swarm = swarm((300, 100), &[seeder(2, 0)], &[host(1, 1000), late]);
        assert_eq!(owns(&swarm)[1], latency, "joins at {joins}");
    }
}

#[test]
fn who_takes_and_does_not_send_has_it_one_after_another() {
    // 300 bytes for each at 2: 150, 300, 450. The third chunk's first copy is there at 155, the next at 205 and 255, which is less.
    let swarm = |hosts: &[BoundedHost]| swarm((300, 100), &[seeder(2, 0)], hosts);
    assert_eq!(ranks(&swarm(&[taker(1000); 3])), [155, 305, 455]);

    // One of them comes later: of the first two by latency one at least was there from the beginning, and of three two.
    for (joins, finish) in [(100, 305), (149, 305), (150, 305), (151, 306), (400, 555)] {
        let late = BoundedHost {
            joins_after: ns(joins),
            ..taker(1000)
        };
        let swarm = swarm(&[taker(1000), late, taker(1000)]);
        assert_eq!(ranks(&swarm), [155, 155, 305], "{joins}");
        assert_eq!(swarm.bounds().finish(), ns(finish), "{joins}");
    }

    // Of whom nothing is expected gets nothing either.
    let aside = BoundedHost {
        expected: false,
        ..taker(1000)
    };
    let bounds = swarm(&[aside, taker(1000), taker(1000)]).bounds();
    assert_eq!((bounds.expected(), bounds.makespan()), (2, ns(305)));
    let at = [0, 1, 2, 3].map(|rank| nanos(bounds.of_rank(rank)));
    assert_eq!(at, [0, 155, 305, 305], "the longest where there are fewer");
    assert_eq!(bounds.of_host(0), ns(155));
    let nobody = swarm(&[aside]).bounds();
    assert_eq!(
        (nobody.makespan(), nobody.finish(), nobody.expected()),
        (ns(0), ns(0), 0)
    );
}

#[test]
fn times_count_from_when_the_first_host_joins() {
    let joins = |after| BoundedHost {
        joins_after: ns(after),
        ..taker(1000)
    };
    for (sends_after, first_join, ranks_from_then, finish) in [
        (0, 1000, [155, 305], 1305),
        (1000, 1000, [155, 305], 1305),
        // Nobody has anything to send before.
        (1010, 1000, [165, 315], 1315),
    ] {
        let swarm = swarm((300, 100), &[seeder(2, sends_after)], &[joins(first_join); 2]);
        assert_eq!(ranks(&swarm), ranks_from_then, "{sends_after}");
        assert_eq!(swarm.bounds().finish(), ns(finish), "{sends_after}");
    }
}

/// Two chunks of 100 and one of 50; a seeder of 2 and three hosts of 2 up and 4 down. A chunk takes 50, and the short one 25.
#[test]
fn a_short_chunk_may_go_last_or_not() {
    let swarm = swarm((250, 100), &[seeder(2, 0)], &[host(2, 4); 3]);
    let bounds = swarm.bounds();
    let together = bounds.together.as_ref().unwrap();
    assert_eq!((together.whole, together.build, together.latency), (200, 250, 5));

    // Who can hold a whole chunk: at 55 of the seeder, at 105 of it, at 110 of the first. So bytes sent are 110 at 55, 310 at 105, 340 at 110,
    // and 8 a nanosecond from then on.
    let whole = [110, 114, 310, 316, 340, 348, 400, 600].map(|bytes| together.of_whole_chunks.reach(bytes));
    assert_eq!(whole, [55, 56, 105, 106, 110, 111, 117, 142]);
    // Who can hold the short one: at 30, at 55 of the seeder, at 60 of the first. Bytes: 60, 160, 190.
    let all = [60, 64, 160, 166, 190, 198, 500, 750].map(|bytes| together.of_all_chunks.reach(bytes));
    assert_eq!(all, [30, 31, 55, 56, 60, 61, 98, 130]);

    // The second whole chunk leaves the seeder as its second copy: 105, then 155 of it and 160 of the first.
    assert_eq!(
        [1, 2, 3].map(|hosts| together.rare.whole.time_of(hosts)),
        [105, 155, 160]
    );
    // Where a whole one is the last of three, the seeder has sent 250, 350, 450 bytes before: 130, 180, and 185 of the first.
    let (whole, short) = together.rare.tail.as_ref().unwrap();
    assert_eq!([1, 2, 3].map(|hosts| whole.time_of(hosts)), [130, 180, 185]);
    // Where it is the short one, 250, 300, 350: 130, 155, and 160 of the first.
    assert_eq!([1, 2, 3].map(|hosts| short.time_of(hosts)), [130, 155, 160]);
    assert_eq!(ranks(&swarm), [130, 155, 160]);
}

#[test]
fn the_greatest_of_what_bounds_a_swarm_counts() {
    let volume = |rate: u64| Volume::new(vec![volume::Change::start(0, u128::from(rate) * 1_000_000_000, 0)]);
    // Nobody serves, so copies come of the seeder alone: of 10 and then every 10.
    let growth = |first: u64| {
        let swarm = swarm((100, 100), &[seeder(2, 0)], &[taker(1000); 4]);
        let links = Links::of(&swarm, 0).unwrap();
        links.growth(100, (0..).map(move |copy| first + 10 * copy))
    };
    let together = |whole: u64, all: u64, rare: u64, tail: Option<(u64, u64)>| Together {
        latency: 5,
        build: 100,
        whole: 90,
        of_whole_chunks: volume(whole),
        of_all_chunks: volume(all),
        rare: Rare {
            whole: growth(rare),
            tail: tail.map(|(whole, short)| (growth(whole), growth(short))),
        },
        groups: Vec::new(),
    };
    for (what, together, expected) in [
        ("whole chunks: 180 / 1", together(1, 2, 10, None), 180 + 5),
        ("all chunks: 200 / 1", together(2, 1, 10, None), 200 + 5),
        ("the last whole chunk", together(2, 2, 150, None), 160),
        (
            "that, and what is last after it",
            together(2, 2, 150, Some((160, 170))),
            170,
        ),
        ("the lesser of two", together(2, 2, 150, Some((180, 170))), 180),
        (
            "no less than the last whole chunk",
            together(2, 2, 150, Some((10, 20))),
            160,
        ),
    ] {
        assert_eq!(together.time_of(2), expected, "{what}");
    }
}

#[test]
fn a_group_without_a_seeder_is_a_host_and_one_with_a_seeder_a_seeder() {
    let from_10 = |host: BoundedHost| BoundedHost {
        joins_after: ns(10),
        ..host
    };
    let hosts = [
        BoundedHost {
            joins_after: ns(50),
            serves_until: ns(200),
            ..host(2, 100)
        },
        BoundedHost {
            serves_until: ns(300),
            ..from_10(host(5, 100))
        },
        from_10(host(6, 100)),
        taker(100),
    ];
    let swarm = swarm((300, 100), &[seeder(9, 70), seeder(1, 90), seeder(3, 80)], &hosts);
    let is_prompt = |host: &BoundedHost| host.joins_after == ns(10);
    let partition = |out: Option<u64>, into: Option<u64>| Partition {
        out: out.map(rate),
        into: into.map(rate),
        latency: ns(7),
        seeder_groups: vec![None, Some(1), Some(1)],
        host_groups: vec![0, 0, 1, 2],
    };
    let least = ByteRate::from_bytes_per_second(1).unwrap();
    let most = ByteRate::from_bytes_per_second(u64::MAX).unwrap();
    for (out, into, of_hosts, of_seeders, down) in [
        (None, None, rate(7), rate(10), most),
        (Some(8), Some(4), rate(7), rate(8), rate(4)),
        (Some(6), Some(4), rate(6), rate(6), rate(4)),
    ] {
        let (contracted, indices) = swarm.contract(&partition(out, into), &is_prompt);
        assert_eq!(indices, [Some(0), Some(0), None, Some(1)]);
        let seeders = vec![
            seeder(9, 70),
            BoundedSeeder {
                uplink: of_seeders,
                sends_after: ns(80),
            },
        ];
        let hosts = vec![
            BoundedHost {
                uplink: of_hosts,
                downlink: down,
                joins_after: ns(10),
                serves_until: ns(300),
                expected: true,
            },
            BoundedHost {
                uplink: least,
                downlink: down,
                joins_after: ns(0),
                serves_until: Duration::ZERO,
                expected: false,
            },
        ];
        let expected = BoundedSwarm {
            latency: ns(7),
            seeders,
            hosts,
            ..swarm.clone()
        };
        assert_eq!(contracted, expected, "{out:?} and {into:?}");
    }
}

#[test]
fn so_many_groups_have_it_as_so_many_hosts_are_in_at_least() {
    let bounds = Bounds {
        own: vec![0; 3],
        ranked: vec![10, 20, 30],
        late: 0,
        first_join: 1000,
        together: None,
        finish: 0,
    };
    let hosts = [Some(0), Some(1), None, Some(2), Some(1), Some(2), None, Some(1)];
    let groups = GroupBounds::new(bounds, hosts.into_iter());
    assert_eq!(
        (groups.beside_seeders, groups.greatest.as_slice()),
        (2, [3, 5, 6].as_slice())
    );
    let times = [0, 1, 2, 3, 5, 6, 7, 8].map(|count| groups.time_of(count));
    assert_eq!(times, [0, 0, 0, 1010, 1010, 1020, 1020, 1030]);
}

#[test]
fn what_leads_into_a_group_bounds_its_hosts_and_the_ranks() {
    let zone = |hosts: &[BoundedHost], host_groups: Vec<u32>| {
        let mut swarm = swarm((300, 100), &[seeder(2, 0)], hosts);
        swarm.partitions = vec![Partition {
            out: None,
            into: Some(rate(1)),
            latency: ns(9),
            seeder_groups: vec![None],
            host_groups,
        }];
        swarm
    };
    // 300 bytes at 1 into the zone; the seeder's 600 to both would take 305.
    let one = zone(&[taker(100); 2], vec![0, 0]);
    assert_eq!((owns(&one), ranks(&one)), (vec![309, 309], vec![309, 309]));
    // Into two zones at a time the seeder sends 600 bytes: 300 + 9, and into three 450 + 9.
    let three = zone(&[taker(100); 3], vec![0, 1, 2]);
    assert_eq!(ranks(&three), [309, 309, 459]);
    // Who joins a zone later may find the build there: since its first joined at 40 it is there at 40 + 309.
    let joins = |after| BoundedHost {
        joins_after: ns(after),
        ..taker(100)
    };
    let late = zone(&[joins(40), joins(90), joins(200)], vec![0, 0, 0]);
    // At 200 it is there after 149, and the seeder takes 155 from any joining.
    assert_eq!(owns(&late), [309, 259, 155]);
    assert_eq!(late.bounds().finish(), ns(355));
}

#[test]
fn a_chunk_that_is_longer_than_the_build_is_the_build() {
    // One chunk of 60 bytes: 30 at 2, and again 30 for the second.
    let one = swarm((60, 100), &[seeder(2, 0)], &[taker(1000); 2]);
    assert_eq!(ranks(&one), [35, 65]);
    let together = one.bounds().together.unwrap();
    assert_eq!(
        (together.whole, together.build, together.rare.tail.is_none()),
        (60, 60, true)
    );
    // No chunk is shorter than a byte.
    let of_chunks = |chunk: u64| swarm((60, chunk), &[seeder(2, 0)], &[taker(1000); 2]);
    assert_eq!(ranks(&of_chunks(0)), ranks(&of_chunks(1)));
}

#[test]
fn without_a_seeder_or_a_byte_nothing_is_bounded() {
    for (build, seeders) in [(300, vec![]), (0, vec![seeder(2, 0)])] {
        let swarm = swarm((build, 100), &seeders, &[host(1, 1); 2]);
        assert_eq!((ranks(&swarm), swarm.bounds().finish()), (vec![0, 0], ns(0)));
    }
}
