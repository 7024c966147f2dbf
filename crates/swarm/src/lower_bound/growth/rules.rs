//! When copies arrive and holders become more, worked out by hand: bytes a nanosecond, and a latency of 5.

use std::time::Duration;

use crate::lower_bound::rules::{host, ns, rate, seeder, swarm, taker};
use crate::lower_bound::{BoundedHost, BoundedSwarm};
use crate::units::{ByteRate, Bytes};

use super::*;

fn links(swarm: &BoundedSwarm) -> Links<'_> {
    Links::of(swarm, 0).unwrap()
}

/// Of as many hosts as are given, of which the fastest downlink is 3.
fn of_hosts(hosts: &[BoundedHost]) -> BoundedSwarm {
    swarm((1200, 120), &[seeder(2, 0)], hosts)
}

#[test]
fn a_copy_has_left_its_sender_come_in_and_taken_the_latency() {
    let offset = |lead: u64, burst: u64, uplink: u64, copy: u64| {
        let mut swarm = of_hosts(&[host(1, 3), host(1, 1)]);
        (swarm.lead, swarm.burst) = (ns(lead), Bytes::new(burst));
        links(&swarm).offset(uplink * 1_000_000_000, 120, copy)
    };
    // 120 bytes take 60 at 2, and 40 at 3, the fastest downlink.
    for (lead, burst, uplink, copy, expected) in [
        (0, 0, 2, 1, 60 + 5),
        (0, 0, 2, 3, 180 + 5),
        (0, 0, 12, 1, 40 + 5),
        (0, 0, 12, 4, 40 + 5),
        (0, 0, 12, 5, 50 + 5),
        (10, 0, 2, 1, 50 + 5),
        (10, 0, 2, 3, 170 + 5),
        (100, 0, 2, 1, 40 + 5),
        (0, 30, 12, 1, 30 + 5),
        (0, 120, 12, 1, 10 + 5),
        (100, 200, 12, 1, 5),
    ] {
        let seen = offset(lead, burst, uplink, copy);
        assert_eq!(
            seen, expected,
            "lead {lead}, burst {burst}, {uplink} a nanosecond, copy {copy}"
        );
    }
}

#[test]
fn copies_of_several_seeders_arrive_in_the_order_of_their_times() {
    let arrivals = |first_join: u64| -> Vec<u64> {
        let swarm = swarm((1200, 120), &[seeder(3, 100), seeder(2, 0)], &[host(1, 1000)]);
        let links = Links::of(&swarm, first_join).unwrap();
        links.copies(120).take(8).collect()
    };
    // Every 60 + 5 after the beginning of one, and every 40 + 5 after 100 of the other.
    assert_eq!(arrivals(0), [65, 125, 145, 185, 185, 225, 245, 265]);
    // Nobody is there to send to before 30.
    assert_eq!(arrivals(30), [95, 145, 155, 185, 215, 225, 265, 275]);
}

#[test]
fn holders_send_one_copy_after_another_and_do_not_wait_for_them_to_arrive() {
    let swarm = of_hosts(&[host(2, 1000); 8]);
    let growth = links(&swarm).growth(120, [100].into_iter());
    // The first sends at 165, 225, 285; who holds it at 165 at 230, 290; who does at 225 at 290, and at 230 at 295.
    let times: Vec<u64> = (1..=9).map(|holders| growth.time_of(holders)).collect();
    assert_eq!(times, [100, 165, 225, 230, 285, 290, 290, 295, u64::MAX]);
    assert_eq!(growth.time_of(0), 100);
}

#[test]
fn copies_of_the_seeder_that_come_at_the_same_time_count_all_and_no_more_than_there_are_hosts() {
    let swarm = of_hosts(&[taker(1000); 4]);
    let growth = links(&swarm).growth(120, [10, 10, 20, 30, 40].into_iter());
    assert_eq!([1, 2, 3, 4].map(|holders| growth.time_of(holders)), [10, 10, 20, 30]);
    assert_eq!(growth.time_of(5), u64::MAX, "there are four");
    let growth = links(&swarm).growth(120, [10, 20].into_iter());
    assert_eq!(
        [2, 3].map(|holders| growth.time_of(holders)),
        [20, u64::MAX],
        "nobody passes it on"
    );
    // A copy and a sender's at once, of two that can have it: at 65 the first sends to the second.
    let swarm = of_hosts(&[host(2, 1000); 3]);
    let growth = links(&swarm).growth(120, [0, 65, 65].into_iter());
    assert_eq!(
        [1, 2, 3, 4].map(|holders| growth.time_of(holders)),
        [0, 65, 65, u64::MAX]
    );
}

#[test]
fn only_who_serves_sends_copies() {
    let swarm = of_hosts(&[host(2, 1000), taker(1000), taker(1000)]);
    let growth = links(&swarm).growth(120, [100].into_iter());
    assert_eq!(
        [2, 3].map(|holders| growth.time_of(holders)),
        [165, 225],
        "at 2, and not at 1000"
    );
}

/// After 4,096 different times what comes within a 256th of a transfer comes at once.
#[test]
fn beyond_so_many_times_copies_come_by_the_grain() {
    // A transfer takes 2,560,000 at 1 with its latency, so a grain is 10,000. Copies come every 100.
    let mut swarm = of_hosts(&[host(1, 1_000_000); 6000]);
    swarm.latency = ns(0);
    let growth = links(&swarm).growth(2_560_000, (0..).map(|copy| 100 * copy));
    let times = [1, 4096, 4097, 4197, 4198, 4298, 4299].map(|holders| growth.time_of(holders));
    assert_eq!(times, [0, 409_500, 409_600, 409_600, 419_700, 419_700, 429_800]);
}

#[test]
fn beyond_so_many_times_a_sender_may_have_sent_several_within_the_grain() {
    // A copy takes 10 to be sent and 25,590 to arrive: the first offset is 25,600, and a grain 100.
    let mut swarm = of_hosts(&[host(1, 1_000_000); 10_000]);
    swarm.latency = ns(25_590);
    let growth = links(&swarm).growth(10, 0..4096);
    // Up to 25,700 who holds it since 0 has sent eleven; who does since 1 to 10 ten, since 11 to 20 nine, … since 91 to 100 one.
    let sent = 11 + 10 * (10 + 9 + 8 + 7 + 6 + 5 + 4 + 3 + 2 + 1);
    assert_eq!(growth.time_of(4096), 4095);
    assert_eq!([4097, 4096 + sent].map(|holders| growth.time_of(holders)), [25_600; 2]);
    // The next is the eleventh of who holds it since 1.
    assert_eq!(growth.time_of(4096 + sent + 1), 25_701);
}

#[test]
fn beyond_so_many_times_a_grain_is_that_of_one_byte_a_second_where_nobody_serves() {
    // 256 bytes take 256 s at one byte a second, so a grain is a second, and ten copies come in one.
    let mut swarm = of_hosts(&[taker(1000); 6000]);
    swarm.latency = ns(0);
    let growth = links(&swarm).growth(256, (0..).map(|copy| 100_000_000 * copy));
    let times = [4096, 4097, 4107, 4108].map(|holders| growth.time_of(holders) / 100_000_000);
    assert_eq!(times, [4095, 4096, 4096, 4107]);
}

#[test]
fn a_host_of_one_byte_a_second_passes_chunks_on() {
    let uplink = ByteRate::from_bytes_per_second(1).unwrap();
    let swarm = of_hosts(
        &[BoundedHost {
            uplink,
            ..host(1, 1000)
        }; 2],
    );
    let growth = links(&swarm).growth(1, [0].into_iter());
    assert_eq!(growth.time_of(2), 1_000_000_005);
}

#[test]
fn copies_within_a_time_are_rounded_so_that_none_is_missed() {
    let mut swarm = of_hosts(&[host(3, 1000), taker(1000)]);
    swarm.lead = ns(2);
    let links = links(&swarm);
    // Ten bytes take 3⅓ at 3: the first has left at 3 as all times are rounded down, the second at 6, the third at 10,
    // less the lead, and 5 later they are there.
    for (after, copies) in [(0, 0), (5, 0), (6, 1), (8, 1), (9, 2), (12, 2), (13, 3)] {
        assert_eq!(links.copies_within(10, after), copies, "after {after}");
    }
    // 120 bytes take exactly 40.
    for (after, copies) in [(42, 0), (43, 1), (82, 1), (83, 2)] {
        assert_eq!(links.copies_within(120, after), copies, "after {after}");
    }
}

/// A seeder of 2, hosts of which the fastest sends at 10 and the fastest receives at 6, a chunk of 120.
///
/// Its copies arrive every 60 + 5. A host's first takes max(12, 20) + 5 = 25, its second max(24, 20) + 5 = 29. So one host can hold it at 65,
/// two at 90, three at 94.
#[test]
fn nobody_sends_before_it_can_hold_a_chunk_the_fastest_first() {
    let late = |joins: u64, until: Duration| BoundedHost {
        joins_after: ns(joins),
        serves_until: until,
        ..host(10, 5)
    };
    let prompt_until = |until: u64| BoundedHost {
        serves_until: ns(until),
        ..host(3, 6)
    };
    let prompt = [host(1, 6), host(4, 6)];
    let reach = |more: &[BoundedHost], lead: u64, burst: u64, bytes: &[u128]| -> Vec<u64> {
        let mut swarm = of_hosts(&[&prompt[..], more].concat());
        (swarm.lead, swarm.burst) = (ns(lead), Bytes::new(burst));
        let links = Links::of(&swarm, 0).unwrap();
        let volume = links.ramp(120);
        bytes.iter().map(|bytes| volume.reach(*bytes)).collect()
    };
    // One who joins at 1000 receives for 120 / 5 = 24, and sends from 1029 on. One who goes at 500 sends from 65 on. So bytes are 130 at 65, then
    // 2 + 3 + 4 a nanosecond up to 355 at 90, 10 up to 4455 at 500, 7 up to 8158 at 1029, and 17.
    let more = [late(1000, Duration::MAX), prompt_until(500)];
    let bytes = [130, 139, 355, 365, 4455, 4462, 8158, 8175];
    assert_eq!(reach(&more, 0, 0, &bytes), [65, 66, 90, 91, 500, 501, 1029, 1030]);

    // A burst of 20 leaves 100 to receive. So two can hold it at 65 + 16 + 5 = 86, which are four bytes more, and who joins at 1000 sends from 1025
    // on: at 4459 + 525 · 7 = 8134.
    let bytes = [319, 329, 4459, 8134, 8151];
    assert_eq!(reach(&more, 0, 20, &bytes), [86, 87, 500, 1025, 1026]);

    // Without the one who goes at 500 bytes are 280 at 90, and 7 a nanosecond from then on. Who joins at 71 sends from 71 + 24 + 5 = 100 on, when
    // they are 350: nothing where it goes then, and ten bytes where it goes a nanosecond later.
    let sends = |until: u64| reach(&[late(71, ns(until))], 0, 0, &[350, 357, 374]);
    assert_eq!((sends(100), sends(101)), (vec![100, 101, 103], vec![100, 100, 102]));
    // Who joins before anybody can hold a chunk waits until then: at 36 + 24 + 5 = 65 that is so.
    let sends = |joins: u64| reach(&[late(joins, Duration::MAX)], 0, 0, &[130, 136, 152]);
    let at_65 = vec![65, 65, 66];
    assert_eq!([30, 36, 37].map(sends), [at_65.clone(), at_65, vec![65, 66, 67]]);
}

#[test]
fn a_lead_is_sent_at_once_by_each_that_begins() {
    let mut swarm = of_hosts(&[host(4, 6)]);
    swarm.lead = ns(10);
    let volume = links(&swarm).ramp(120);
    // The seeder sends 20 at once, and has brought a copy at 60 − 10 + 5 = 55, when it has sent 130. Then the host sends 40 at once, and 6 a
    // nanosecond go.
    let times = [20, 22, 130, 131, 170, 176].map(|bytes| volume.reach(bytes));
    assert_eq!(times, [0, 1, 55, 55, 55, 56]);
}

#[test]
fn a_swarm_of_no_hosts_has_no_links() {
    assert!(Links::of(&of_hosts(&[]), 0).is_none());
    assert!(Links::of(&swarm((1200, 120), &[], &[host(1, 1)]), 0).is_none());
    assert!(Links::of(&swarm((0, 120), &[seeder(1, 0)], &[host(1, 1)]), 0).is_none());
    let swarm = of_hosts(&[host(1, 1)]);
    assert_eq!(rate(2).bytes_per_second(), links(&swarm).seeders[0].0);
}
