//! Who is linked with whom, each rule at the edge where it begins to hold.

use super::*;
use rand::SeedableRng;

fn host(number: u64) -> HostId {
    HostId::new(number)
}

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// Hosts 1 to `count` without links, of which those with a remainder below `zones` are in a zone of that number.
fn overlay(count: u64, zones: u64) -> Overlay {
    let mut overlay = Overlay::default();
    for number in 1..=count {
        overlay.add(host(number));
        if zones > 0 {
            overlay.set_zone(host(number), zone(number % zones));
        }
    }
    overlay
}

fn zone(number: u64) -> ZoneId {
    ZoneId::named(&number.to_string())
}

#[test]
fn each_joiner_dials_as_many_as_it_wants_and_no_more() {
    let mut overlay = overlay(200, 0);
    let joiners = [(host(301), 0), (host(302), 1), (host(303), 7)];
    let dials = overlay.link_joiners(&joiners, 100, &mut rng(1));
    let counts: Vec<usize> = dials.iter().map(Vec::len).collect();
    assert_eq!(
        counts.iter().sum::<usize>(),
        8 + 1,
        "and one that connects who wants none"
    );
    assert!(counts[1] >= 1 && counts[2] >= 7, "{counts:?}");
}

#[test]
fn nobody_is_dialled_who_has_as_many_links_as_may_be() {
    for seed in 0..20 {
        let mut overlay = overlay(4, 0);
        for other in 2..=4 {
            overlay.note_link(host(1), host(other));
        }
        overlay.note_link(host(2), host(3));
        let dials = overlay.link_joiners(&[(host(9), 4)], 2, &mut rng(seed));
        assert_eq!(dials, [[host(4)]], "1, 2 and 3 have two or more");
    }
}

#[test]
fn in_a_crowded_swarm_the_only_one_with_room_is_found() {
    for seed in 0..20 {
        let mut overlay = overlay(300, 0);
        for number in (1..300).step_by(2).filter(|number| *number != 151) {
            overlay.note_link(host(number), host(number + 1));
        }
        overlay.unlink(host(151), host(152));
        overlay.note_link(host(152), host(1));
        let dials = overlay.link_joiners(&[(host(999), 1)], 1, &mut rng(seed));
        assert_eq!(dials[0][0], host(151));
    }
}

#[test]
fn a_link_is_noted_once_between_two_that_are_there() {
    let mut overlay = overlay(3, 0);
    for (a, b) in [(1, 2), (2, 1), (1, 2), (1, 1), (1, 9), (9, 1)] {
        overlay.note_link(host(a), host(b));
    }
    let links: Vec<&[HostId]> = [1, 2, 3, 9].iter().map(|number| overlay.links(host(*number))).collect();
    assert_eq!(links, [&[host(2)][..], &[host(1)], &[], &[]]);
    assert_eq!(
        (overlay.len(), overlay.is_empty(), Overlay::default().is_empty()),
        (3, false, true)
    );
}

#[test]
fn who_goes_leaves_no_link_and_no_place_in_its_zone() {
    let mut overlay = overlay(4, 2);
    for (a, b) in [(1, 2), (1, 3), (2, 3)] {
        overlay.note_link(host(a), host(b));
    }
    overlay.remove(host(1));
    assert_eq!(
        (overlay.len(), overlay.links(host(2)), overlay.links(host(3))),
        (3, &[host(3)][..], &[host(2)][..])
    );
    assert_eq!(overlay.zones[&zone(1)].len(), 1);
    overlay.remove(host(3));
    assert!(!overlay.zones.contains_key(&zone(1)), "there is nobody of it any more");
    overlay.set_zone(host(2), zone(5));
    overlay.set_zone(host(2), zone(5));
    assert_eq!(
        (overlay.zones[&zone(0)].len(), overlay.zones[&zone(5)].len()),
        (1, 1),
        "it has moved"
    );
}

#[test]
fn of_twelve_links_ten_are_within_the_zone_and_each_sixth_crosses() {
    for seed in 0..10 {
        let mut overlay = overlay(300, 3);
        overlay.add(host(900));
        overlay.set_zone(host(900), zone(0));
        let dials = overlay.link_joiners(&[(host(900), 12)], 100, &mut rng(seed));
        let within: Vec<bool> = dials[0].iter().map(|other| other.get() % 3 == 0).collect();
        let expected: Vec<bool> = (1..=12).map(|link| link % 6 != 0).collect();
        assert_eq!(within, expected);
    }
}

#[test]
fn who_knows_no_zone_or_but_one_is_linked_with_anybody() {
    let reached = |zones: u64, joins_zone: bool| {
        let mut overlay = overlay(40, zones);
        overlay.add(host(900));
        if joins_zone {
            overlay.set_zone(host(900), zone(0));
        }
        let dials = overlay.link_joiners(&[(host(900), 40)], 100, &mut rng(1));
        dials[0].len()
    };
    assert_eq!(reached(0, true), 40, "there is no other zone");
    assert_eq!(
        (reached(2, false), reached(2, true)),
        (40, 40),
        "and in the end everybody is"
    );
}

#[test]
fn a_host_is_linked_with_so_many_of_each_other_zone_counting_those_it_has() {
    let mut overlay = overlay(30, 3);
    overlay.note_link(host(3), host(1));
    assert_eq!(
        overlay.link_to_other_zones(host(99), 2, &mut rng(1)),
        [],
        "nobody knows its zone"
    );
    let dials = overlay.link_to_other_zones(host(3), 2, &mut rng(1));
    let mut zones: Vec<u64> = dials.iter().map(|other| other.get() % 3).collect();
    zones.sort_unstable();
    assert_eq!(zones, [1, 2, 2]);
    assert!(dials.iter().all(|other| overlay.links(*other).contains(&host(3))));
    assert_eq!(overlay.link_to_other_zones(host(3), 2, &mut rng(1)), []);
}

#[test]
fn parts_are_connected_through_joiners_and_who_was_linked_elsewhere_is_left() {
    for seed in 0..20 {
        let mut overlay = Overlay::default();
        // Two pairs, and one without links which asks for none.
        for number in 1..=5 {
            overlay.add(host(number));
        }
        overlay.note_link(host(1), host(2));
        overlay.note_link(host(3), host(4));
        let dials = overlay.link_joiners(&[(host(3), 0)], 100, &mut rng(seed));
        assert_eq!(dials[0].len(), 1);
        assert!(
            [1, 2].map(host).contains(&dials[0][0]),
            "only a joiner can be told to dial"
        );
        assert_eq!(overlay.links(host(5)), []);
        assert_eq!(
            overlay.link_joiners(&[(host(3), 0)], 100, &mut rng(seed)),
            [[]],
            "it is connected"
        );
        assert_eq!(overlay.link_joiners(&[], 100, &mut rng(seed)), [[]; 0]);
    }
}

#[test]
fn a_pair_that_bars_each_other_is_not_linked_even_to_connect_the_swarm() {
    for seed in 0..20 {
        let mut overlay = overlay(3, 0);
        overlay.note_link(host(1), host(2));
        overlay.set_barred(host(1), vec![host(9)]);
        let dials = overlay.link_joiners(&[(host(9), 1)], 100, &mut rng(seed));
        assert!(!dials[0].contains(&host(1)), "{dials:?}");
        let mut two = overlay_of_a_barred_pair();
        assert_eq!(two.link_joiners(&[(host(9), 3)], 100, &mut rng(seed)), [[]]);
    }
}

fn overlay_of_a_barred_pair() -> Overlay {
    let mut overlay = overlay(1, 0);
    overlay.add(host(9));
    overlay.set_barred(host(9), vec![host(1)]);
    overlay
}
