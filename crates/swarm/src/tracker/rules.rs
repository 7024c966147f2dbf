//! The rules of the tracker: who is answered when, what links are taken for, who is expelled, each at the edge where it begins to hold.

use std::collections::BTreeSet;

use super::*;
use rand::SeedableRng;

fn host(number: u64) -> HostId {
    HostId::new(number)
}

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn rng() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(7)
}

fn announced(wanted: u16) -> Announced {
    Announced {
        address: ByteBuffer::new(),
        wanted,
        complete: false,
        zone: None,
        links: LinkReport::default(),
    }
}

/// Of hosts 1 to `hosts`, who have asked for half the degree and been answered at time zero.
fn tracker(hosts: u64, degree: u16) -> Tracker {
    let mut tracker = Tracker::new(degree);
    for number in 1..=hosts {
        tracker.announce(Time::ZERO, host(number), announced(degree.div_ceil(2)));
    }
    tracker.answer_joiners(Time::ZERO, &mut rng());
    tracker
}

/// Whom each that waits is to dial.
fn dials(tracker: &mut Tracker, now: Time) -> Vec<(HostId, usize)> {
    let answers = tracker.answer_joiners(now, &mut rng());
    answers.into_iter().map(|(host, dials)| (host, dials.len())).collect()
}

#[test]
fn joiners_are_answered_when_none_has_come_for_a_moment_or_the_first_has_waited_for_two_seconds() {
    let mut tracker = tracker(40, 6);
    let mut expect = |number, now, answer_at| {
        let told = tracker.announce(at(now), host(number), announced(3));
        assert_eq!(told, Some(at(answer_at)), "at {now}");
    };
    expect(101, 1000, 1100);
    expect(102, 1090, 1190);
    expect(103, 2890, 2990);
    expect(104, 2950, 3000);
    assert_eq!(dials(&mut tracker, at(3000)).len(), 4);
    let told = tracker.announce(at(9000), host(105), announced(3));
    assert_eq!(told, Some(at(9100)), "it is the first again");
}

/// Fifty hosts that came one after another within half a second had no neighbours for all that time, of a build that takes a fifth of it.
#[test]
fn where_there_is_a_build_the_first_joiner_waits_for_a_fifth_of_a_second_at_most() {
    let mut tracker = tracker(40, 6);
    tracker.hurry();
    for (number, now, answer_at) in [
        (101, 1000, 1100),
        (102, 1090, 1190),
        (103, 1150, 1200),
        (104, 1199, 1200),
    ] {
        let told = tracker.announce(at(now), host(number), announced(3));
        assert_eq!(told, Some(at(answer_at)), "at {now}");
    }
}

#[test]
fn who_asks_for_nobody_is_not_answered_unless_the_swarm_is_small_and_it_lacks_somebody() {
    let up = |numbers: &[u64]| Announced {
        links: LinkReport {
            up: numbers.iter().copied().map(host).collect(),
            ..LinkReport::default()
        },
        ..announced(0)
    };
    for (hosts, links, is_answered) in [
        // Seven are a complete graph at degree 6, eight are not.
        (7, &[2, 3, 4, 5, 6][..], true),
        (7, &[2, 3, 4, 5, 6, 7], false),
        (8, &[2, 3, 4, 5, 6], false),
        // It asks another tracker, and has yet to have links.
        (7, &[], false),
    ] {
        let mut tracker = Tracker::new(6);
        for number in 1..=hosts {
            tracker.announce(Time::ZERO, host(number), announced(0));
        }
        let told = tracker.announce(at(1000), host(1), up(links));
        assert_eq!(told.is_some(), is_answered, "{links:?} of {hosts}");
    }
}

#[test]
fn in_a_small_swarm_everybody_is_linked_with_everybody() {
    for (hosts, is_small) in [(2, true), (7, true), (8, false)] {
        let tracker = tracker(hosts, 6);
        let all = (1..=hosts).all(|number| tracker.overlay.links(host(number)).len() as u64 == hosts - 1);
        assert!(all || !is_small, "{hosts}");
    }
}

#[test]
fn nobody_gets_more_than_half_as_many_again_as_the_degree_nor_more_than_64_at_a_time() {
    let mut large = tracker(200, 4);
    large.announce(at(0), host(999), announced(1000));
    assert_eq!(dials(&mut large, at(0)), [(host(999), 64)]);
    let mut crowded = tracker(30, 4);
    for number in 100..120 {
        crowded.announce(at(0), host(number), announced(30));
    }
    crowded.answer_joiners(at(0), &mut rng());
    let most = (1..=30).map(|number| crowded.overlay.links(host(number)).len()).max();
    assert_eq!(most, Some(6));
}

#[test]
fn who_asks_again_before_it_is_answered_is_answered_once_and_who_has_gone_is_not() {
    let mut tracker = tracker(40, 6);
    for number in [101, 102, 101] {
        tracker.announce(at(0), host(number), announced(2));
    }
    tracker.remove(host(102));
    assert_eq!(dials(&mut tracker, at(0)), [(host(101), 2)]);
    assert_eq!(dials(&mut tracker, at(0)), []);
    // Where very many wait nobody is searched for.
    for number in (1000..1257).chain([1000]) {
        tracker.announce(at(0), host(number), announced(2));
    }
    assert_eq!(dials(&mut tracker, at(0)).len(), 258);
}

#[test]
fn members_are_counted_by_whether_they_are_complete_however_they_come_to_be_and_go() {
    let mut tracker = Tracker::new(6);
    let counts = |tracker: &Tracker| (tracker.len(), tracker.complete_len(), tracker.incomplete_len());
    let complete = || Announced {
        complete: true,
        ..announced(0)
    };
    for number in 1..=4 {
        tracker.announce(at(0), host(number), announced(3));
    }
    assert_eq!(counts(&tracker), (4, 0, 4));
    tracker.announce(at(0), host(5), complete());
    tracker.announce(at(0), host(1), complete());
    tracker.announce(at(0), host(1), complete());
    assert_eq!(counts(&tracker), (5, 2, 3));
    assert_eq!(
        [1, 2, 2, 99].map(|number| tracker.mark_complete(host(number))),
        [false, true, false, false]
    );
    assert_eq!(counts(&tracker), (5, 3, 2));
    tracker.announce(at(0), host(1), announced(0));
    assert_eq!(counts(&tracker), (5, 2, 3), "its disk was replaced");
    assert_eq!(
        [1, 2, 2].map(|number| tracker.remove(host(number))),
        [Some(false), Some(true), None]
    );
    assert_eq!(counts(&tracker), (3, 1, 2));
    assert!(tracker.hosts().collect::<BTreeSet<_>>() == [3, 4, 5].map(host).into());
    assert_eq!([1, 3].map(|number| tracker.contains(host(number))), [false, true]);
}

#[test]
fn who_has_given_no_sign_of_life_for_longer_than_the_patience_is_silent() {
    let mut tracker = tracker(3, 6);
    tracker.announce(at(10), host(2), announced(0));
    let patience = Duration::from_millis(100);
    assert_eq!(tracker.silent(at(100), patience), []);
    let silent: BTreeSet<HostId> = tracker.silent(at(101), patience).into_iter().collect();
    assert_eq!(silent, [1, 3].map(host).into());
    assert_eq!(tracker.silent(at(111), patience).len(), 3);
}

#[test]
fn a_planned_link_that_an_end_does_not_name_is_lost_fifteen_seconds_after_the_last_plan() {
    for (planned_again, said_at, is_lost) in [
        (None, 14_999, false),
        (None, 15_000, true),
        (Some(5000), 19_999, false),
        (Some(5000), 20_000, true),
    ] {
        let mut tracker = tracker(40, 6);
        let linked = tracker.overlay.links(host(1)).to_vec();
        if let Some(millis) = planned_again {
            // Another one is sent to it, and so it is told of a link once more.
            tracker.note_plan(at(millis), host(99), &[host(1)]);
            tracker.note_plan(at(17_000), host(99), &[]);
        }
        tracker.announce(
            at(said_at),
            host(1),
            Announced {
                links: LinkReport {
                    up: vec![linked[0]],
                    ..LinkReport::default()
                },
                ..announced(1)
            },
        );
        let left = tracker.overlay.links(host(1));
        assert!(left.contains(&linked[0]), "it is up");
        assert_eq!(!left.contains(&linked[1]), is_lost, "{planned_again:?} {said_at}");
        assert_eq!(tracker.overlay.links(linked[1]).contains(&host(1)), !is_lost);
    }
}

#[test]
fn who_dials_and_who_is_dialled_are_both_given_time_for_the_link() {
    let mut tracker = Tracker::new(2);
    for number in 1..=9 {
        tracker.announce(at(0), host(number), announced(0));
    }
    tracker.announce(at(1000), host(10), announced(1));
    let answers = tracker.answer_joiners(at(1000), &mut rng());
    let dialled = answers[0].1[0].host;
    let linked_at: Vec<HostId> = tracker
        .members
        .iter()
        .filter(|(_, member)| member.linked_at == at(1000))
        .map(|(host, _)| *host)
        .collect();
    assert_eq!(
        linked_at.into_iter().collect::<BTreeSet<_>>(),
        [dialled, host(10)].into()
    );
}

#[test]
fn who_is_in_a_zone_that_others_are_not_is_linked_to_two_hosts_of_each_of_them() {
    let mut tracker = Tracker::new(2);
    for (number, name) in (1..=30).zip(["a", "b", "c"].into_iter().cycle()) {
        let zone = Some(ZoneId::named(name));
        tracker.announce(at(0), host(number), Announced { zone, ..announced(0) });
    }
    let contacts = tracker.link_to_other_zones(at(500), host(1), &mut rng());
    let zones: Vec<u64> = contacts.iter().map(|contact| contact.host.get() % 3).collect();
    assert_eq!(zones.iter().filter(|zone| **zone == 2).count(), 2);
    assert_eq!(zones.iter().filter(|zone| **zone == 0).count(), 2);
    assert_eq!(zones.len(), 4);
    assert_eq!(tracker.members[&host(1)].linked_at, at(500));
    assert_eq!(tracker.link_to_other_zones(at(500), host(1), &mut rng()), [], "once");
}

/// Host 1 is linked with hosts 2 to `linked` + 1, and nobody else.
fn accused(linked: u64) -> Tracker {
    let mut tracker = Tracker::new(400);
    for number in 1..=linked + 1 {
        tracker.announce(at(0), host(number), announced(0));
    }
    for other in 2..=linked + 1 {
        tracker.overlay.note_link(host(1), host(other));
    }
    tracker
}

#[test]
fn two_thirds_of_those_linked_with_a_host_and_three_at_least_expel_it() {
    for (linked, needed) in [
        (1, None),
        (2, None),
        (3, Some(3)),
        (4, Some(3)),
        (5, Some(4)),
        (6, Some(4)),
        (9, Some(6)),
        (12, Some(8)),
    ] {
        let mut tracker = accused(linked);
        let expelled_by = (2..=linked + 1).position(|by| tracker.complain(at(0), host(by), host(1)));
        assert_eq!(
            expelled_by.map(|place| place + 1),
            needed,
            "{linked} are linked with it"
        );
        assert_eq!(tracker.is_expelled(at(0), host(1)), needed.is_some());
    }
}

#[test]
fn who_complained_and_was_unlinked_for_it_still_counts() {
    let mut tracker = accused(6);
    for by in 2..=4 {
        assert!(!tracker.complain(at(0), host(by), host(1)));
        tracker.overlay.unlink(host(1), host(by));
    }
    assert!(
        tracker.complain(at(0), host(5), host(1)),
        "four of six, though three are left"
    );
}

#[test]
fn a_complaint_counts_for_ten_minutes_and_an_expulsion_lasts_as_long() {
    let minutes = |minutes: u64| at(minutes * 60_000);
    for (last, is_expelled) in [
        (minutes(10), false),
        (Time::from_nanos(minutes(10).as_nanos() - 1), true),
    ] {
        let mut tracker = accused(3);
        for by in [2, 3] {
            assert!(!tracker.complain(at(0), host(by), host(1)));
        }
        assert_eq!(tracker.complain(last, host(4), host(1)), is_expelled);
        assert_eq!(tracker.is_expelled(last, host(1)), is_expelled);
        assert!(!tracker.is_expelled(last + EXPELLED_FOR, host(1)));
    }
    let mut tracker = accused(3);
    for by in [2, 3, 4] {
        tracker.complain(at(0), host(by), host(1));
    }
    assert!(!tracker.is_expelled(at(0), host(2)), "others stay");
    assert!(!tracker.complain(at(1), host(2), host(1)), "it takes all of them again");
    assert!(!tracker.complain(at(1), host(2), host(77)), "of whom nobody knows");
}

#[test]
fn expulsions_that_have_passed_are_forgotten_and_others_stay() {
    let mut tracker = accused(3);
    for (number, minute) in [(70, 0), (71, 5), (72, 9)] {
        tracker
            .expelled
            .insert(host(number), at(minute * 60_000) + EXPELLED_FOR);
    }
    let now = at(15 * 60_000);
    for by in [2, 3, 4] {
        tracker.complain(now, host(by), host(1));
    }
    let expelled: Vec<HostId> = tracker.expelled.keys().copied().collect();
    assert_eq!(expelled, [1, 72].map(host));
}

#[test]
fn of_a_host_256_complaints_are_remembered() {
    let mut tracker = accused(400);
    let counted = (2..=401).filter(|by| {
        let before = tracker.members[&host(1)].complaints_by.len();
        tracker.complain(at(0), host(*by), host(1));
        tracker.members[&host(1)].complaints_by.len() > before
    });
    assert_eq!(counted.count(), 256);
}

#[test]
fn an_incomplete_member_is_drawn_of_those_that_may_be_and_any_of_them() {
    let mut tracker = tracker(6, 6);
    tracker.mark_complete(host(2));
    let mut chance = rng();
    let mut drawn = BTreeSet::new();
    for _ in 0..200 {
        drawn.insert(tracker.random_incomplete(&mut chance, |other| other != host(5)));
    }
    assert_eq!(drawn, [1, 3, 4, 6].map(|number| Some(host(number))).into());
    assert_eq!(tracker.random_incomplete(&mut chance, |other| other == host(2)), None);
    assert_eq!(Tracker::new(6).random_incomplete(&mut chance, |_| true), None);
}
