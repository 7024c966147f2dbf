//! The rules of who counts as a neighbour and whose turn it is, each at the edge where it begins to hold.

use super::*;

const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);
const C: HostId = HostId::new(3);
const NOBODY: HostId = HostId::new(99);
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(60);

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

/// A and C are in this zone, B is in another.
fn three() -> Neighbours {
    let mut neighbours = Neighbours::default();
    for (host, remote) in [(A, false), (B, true), (C, false)] {
        assert!(neighbours.insert(host, 4, remote));
    }
    neighbours
}

fn seeder(host: HostId) -> Contact {
    Contact {
        host,
        address: "".into(),
    }
}

#[test]
fn nobody_is_a_neighbour_twice_and_who_goes_takes_only_what_was_said_of_it() {
    let mut neighbours = three();
    assert!(!neighbours.insert(B, 4, false), "it is there");
    neighbours.set_busy(C, true);
    neighbours.set_busy(NOBODY, true);
    let gone = neighbours.remove(A).map(|gone| gone.host);
    assert_eq!((gone, neighbours.remove(A).is_some()), (Some(A), false));
    assert_eq!((neighbours.len(), neighbours.hosts()), (2, &[B, C][..]));
    let is_busy = neighbours.busy(&crate::holdings::Heard);
    assert_eq!([is_busy(0), is_busy(1)], [false, true]);
    assert_eq!([neighbours.is_remote(0), neighbours.is_remote(1)], [true, false]);
    let known = |host| (neighbours.contains(host), neighbours.get(host).map(|known| known.host));
    assert_eq!([A, B, C].map(known), [(false, None), (true, Some(B)), (true, Some(C))]);
    assert!(neighbours.iter().map(|neighbour| neighbour.host).eq([B, C]));
}

#[test]
fn who_has_a_table_goes_by_it_and_others_by_what_they_were_told() {
    /// Of whom it is known that B has everything and is busy.
    struct Table(Bitfield);
    impl Holdings for Table {
        fn held_by(&self, host: HostId) -> Option<&Bitfield> {
            (host == B).then_some(&self.0)
        }
        fn is_busy(&self, host: HostId) -> Option<bool> {
            (host == B).then_some(true)
        }
    }
    let table = Table(Bitfield::full(4));
    let mut neighbours = three();
    neighbours.get_mut(A).unwrap().has.insert(ChunkIndex::new(0));
    neighbours.set_busy(C, true);
    let held = |index: usize, host: HostId| {
        let by_host = neighbours.get(host).unwrap().holdings(&table);
        assert_eq!(by_host, neighbours.holdings(index, &table));
        by_host.count()
    };
    assert_eq!(
        [(0, A), (1, B), (2, C)].map(|(index, host)| held(index, host)),
        [1, 4, 0]
    );
    let is_busy = neighbours.busy(&table);
    assert_eq!([is_busy(0), is_busy(1), is_busy(2)], [false, true, true]);
}

#[test]
fn a_zone_is_what_a_host_says_and_strangers_say_nothing() {
    let mut neighbours = three();
    let zone = ZoneId::named("a");
    neighbours.set_zone(NOBODY, zone, true);
    assert!(neighbours.iter().all(|neighbour| neighbour.zone.is_none()));
    neighbours.set_zone(B, zone, false);
    assert_eq!(neighbours.get(B).unwrap().zone, Some(zone));
    let remote = |neighbours: &Neighbours| [A, B, C, NOBODY].map(|host| neighbours.is_remote_host(host));
    assert_eq!(remote(&neighbours), [false; 4]);
    neighbours.set_zone(C, zone, true);
    assert_eq!(remote(&neighbours), [false, false, true, false]);
}

#[test]
fn in_this_zone_are_those_near_by_that_are_no_seeders_and_let_nothing_become_overdue() {
    let mut neighbours = three();
    for (seeders, expected) in [(&[][..], 2), (&[A], 1), (&[A, NOBODY], 1), (&[NOBODY], 2), (&[A, C], 0)] {
        let seeders: Vec<Contact> = seeders.iter().map(|host| seeder(*host)).collect();
        assert_eq!(neighbours.local_hosts(&seeders), expected, "{seeders:?}");
    }
    neighbours.park(at(0), A, LEAST, MOST);
    assert_eq!(neighbours.local_hosts(&[]), 2, "to be late once is not enough");
    neighbours.strike(at(0), A, LEAST);
    neighbours.strike(at(0), B, LEAST);
    assert_eq!(neighbours.local_hosts(&[]), 1);
    assert_eq!(neighbours.local_hosts(&[seeder(C)]), 0);
    assert_eq!(
        neighbours.local_hosts(&[seeder(C), seeder(A)]),
        0,
        "there are none to take away"
    );
    neighbours.delivered(A);
    assert_eq!(neighbours.local_hosts(&[]), 2);
}

#[test]
fn a_turn_is_lost_for_twice_as_long_each_time_and_never_for_less_than_was_said_before() {
    let mut neighbours = three();
    // How long it is said to be lost for, and until when it is.
    for (now, most, said, until) in [
        (0, 1000, 100, 100),
        (0, 1000, 200, 200),
        (0, 1000, 400, 400),
        (0, 500, 500, 500),
        (0, 300, 300, 500),
        (400, 1_000_000, 3200, 3600),
    ] {
        let told = neighbours.park(at(now), A, LEAST, Duration::from_millis(most));
        assert_eq!(told, at(now + said), "at {now}");
        for (then, expected) in [(until - 1, true), (until, false)] {
            assert_eq!(neighbours.is_parked_host(A, at(then)), expected, "at {then}");
            assert_eq!(neighbours.any_parked(at(then)), expected, "at {then}");
            assert_eq!(neighbours.get(A).unwrap().is_parked(at(then)), expected, "at {then}");
        }
        assert!(!neighbours.is_parked_host(B, at(until - 1)));
    }
    assert_eq!(neighbours.park(at(7), NOBODY, LEAST, MOST), at(7));
    for _ in 0..40 {
        neighbours.park(at(0), B, Duration::from_nanos(1), MOST);
    }
    let told = neighbours.park(at(0), B, Duration::from_nanos(1), MOST);
    assert_eq!(told, Time::from_nanos(1 << 16), "it is doubled sixteen times at most");
}

#[test]
fn who_was_overdue_three_times_or_late_six_times_in_a_row_is_of_no_use() {
    for (strikes, misses, is_useless) in [
        (0, 5, false),
        (0, 6, true),
        (2, 0, false),
        (3, 0, true),
        (2, 3, false),
        (2, 4, true),
    ] {
        let mut neighbours = three();
        (0..strikes).for_each(|_| neighbours.strike(at(0), A, LEAST));
        for _ in 0..misses {
            neighbours.park(at(0), A, LEAST, MOST);
        }
        let a = neighbours.get(A).unwrap();
        assert_eq!((a.is_useless(), a.misses()), (is_useless, strikes + misses));
        assert_eq!([0, 1].map(|index| neighbours.misses(index)), [strikes + misses, 0]);
        assert_eq!([A, B, NOBODY].map(|host| neighbours.strikes(host)), [strikes, 0, 0]);
        neighbours.delivered(B);
        assert_eq!(
            neighbours.get(A).unwrap().is_useless(),
            is_useless,
            "another has delivered"
        );
        neighbours.delivered(A);
        assert!(!neighbours.get(A).unwrap().is_useless());
    }
}

#[test]
fn each_time_that_something_was_overdue_the_turn_is_lost_for_twice_the_patience_and_for_half_a_minute_at_most() {
    let mut neighbours = three();
    neighbours.strike(at(0), NOBODY, LEAST);
    assert!(!neighbours.any_missing());
    for (now, lost_for) in [(0, 8000), (10_000, 16_000), (30_000, 30_000), (70_000, 30_000)] {
        neighbours.strike(at(now), A, Duration::from_secs(8));
        for (then, expected) in [(now + lost_for - 1, true), (now + lost_for, false)] {
            assert_eq!(neighbours.is_parked_host(A, at(then)), expected, "at {then}");
        }
    }
}

#[test]
fn who_turned_a_request_down_is_not_asked_at_all_until_the_time_that_is_told_or_it_delivers() {
    let mut neighbours = three();
    neighbours.shut(at(0), NOBODY, LEAST, MOST);
    assert_eq!(neighbours.next_open(at(0)), None);
    for (host, now, until) in [(C, 0, 100), (A, 0, 100), (A, 200, 400)] {
        neighbours.shut(at(now), host, LEAST, MOST);
        assert_eq!(neighbours.next_open(at(now)), Some(at(until)), "{host} at {now}");
    }
    assert_eq!(
        [99, 100, 400].map(|now| neighbours.next_open(at(now))),
        [Some(at(100)), Some(at(400)), None]
    );
    neighbours.park(at(0), B, LEAST, MOST);
    let shut = |neighbours: &Neighbours, now| [0, 1, 2].map(|index| neighbours.is_shut(index, at(now)));
    assert_eq!(
        shut(&neighbours, 399),
        [true, false, false],
        "to lose one's turn is something else"
    );
    assert_eq!(shut(&neighbours, 400), [false; 3]);
    neighbours.delivered(A);
    assert_eq!(shut(&neighbours, 0), [false, false, true], "the other has not");
}

#[test]
fn as_many_have_missed_requests_or_given_up_as_are_counted() {
    let mut neighbours = three();
    for host in [A, A, B] {
        neighbours.park(at(0), host, LEAST, MOST);
    }
    let counts = |neighbours: &Neighbours| (neighbours.missing, neighbours.gave_up);
    assert_eq!([A, A, B].map(|host| neighbours.aborted(host)), [1, 2, 1]);
    assert_eq!(counts(&neighbours), (2, 2));
    neighbours.delivered(C);
    neighbours.delivered(NOBODY);
    assert_eq!(counts(&neighbours), (2, 2), "others have delivered");
    neighbours.remove(C);
    assert_eq!(counts(&neighbours), (2, 2));
    neighbours.delivered(B);
    assert_eq!(counts(&neighbours), (1, 1));
    neighbours.remove(A);
    assert_eq!(counts(&neighbours), (0, 0));
    // Each is counted for itself: to have given up is not to have missed anything.
    neighbours.aborted(B);
    assert_eq!((counts(&neighbours), neighbours.any_missing()), ((0, 1), false));
    neighbours.delivered(B);
    assert_eq!(counts(&neighbours), (0, 0));
}

#[test]
fn of_what_was_said_early_no_more_is_kept_than_a_build_can_have() {
    let most = crate::manifest::CHUNKS_MAX;
    let mut early = EarlyHave::default();
    early.add(&[7, 8]);
    early.add(&vec![9; most as usize]);
    assert_eq!(
        (early.chunks.len(), &early.chunks[..3]),
        (most as usize, &[7, 8, 9][..])
    );
    early.add(&[10]);
    assert_eq!(early.chunks.len(), most as usize);
}

#[test]
fn a_list_with_a_chunk_that_does_not_exist_is_no_list() {
    for (list, expected) in [
        (&[][..], Some(vec![])),
        (&[0, 3], Some(vec![ChunkIndex::new(0), ChunkIndex::new(3)])),
        (&[0, 4], None),
        (&[5, 0], None),
    ] {
        assert_eq!(checked(list, 4), expected, "{list:?}");
    }
}
