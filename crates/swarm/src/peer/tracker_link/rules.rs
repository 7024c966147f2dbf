//! How a host comes to its place in the overlay and keeps it, each rule at the edge where it begins to hold.

use super::super::PeerConfig;
use super::*;
use crate::event::Event;
use crate::manifest::Manifest;

const S: HostId = HostId::new(0);
const T: HostId = HostId::new(100);
const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn contact(host: HostId) -> Contact {
    Contact {
        host,
        address: "there".into(),
    }
}

fn contacts(numbers: impl IntoIterator<Item = u64>) -> Vec<Contact> {
    numbers.into_iter().map(|number| contact(HostId::new(number))).collect()
}

/// A host of the swarm of two seeders, S and T, that is told what happens by hand.
struct Told {
    peer: Peer,
    now: Time,
}

/// What a host tells a seeder or a member of itself: to whom, how many neighbours it wants, and its links.
type Announced = (HostId, u16, LinkReport);

impl Told {
    fn new(degree: u16) -> Self {
        let mut config = PeerConfig::with_seeders(HostId::new(9), "here".into(), [S, T].map(contact));
        config.degree = degree;
        let mut told = Self {
            peer: Peer::new(config, 1, Time::ZERO),
            now: Time::ZERO,
        };
        assert_eq!(told.actions(), [S, T].map(|seeder| Action::Connect(contact(seeder))));
        told
    }

    /// Which is connected to both, and whose tracker has named these members.
    fn joined(degree: u16, members: std::ops::Range<u64>) -> Self {
        let mut told = Self::new(degree);
        for seeder in [S, T] {
            told.tell(Event::Connected(seeder));
        }
        told.tell(Event::Message(S, Message::Neighbours(contacts(members.clone()))));
        members.for_each(|number| drop(told.tell(Event::Connected(HostId::new(number)))));
        told
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.peer.poll_action()).collect()
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.peer.handle_event(self.now, event);
        self.actions()
    }

    /// Time passes up to the next wakeup of a kind; when that is, and what is done then.
    fn wait_for(&mut self, timer: Timer) -> (Time, Vec<Action>) {
        let at = self.peer.timers.get(timer).unwrap();
        self.now = at;
        (at, self.tell(Event::Wakeup))
    }
}

fn announced(actions: &[Action]) -> Vec<Announced> {
    let announced = actions.iter().filter_map(|action| match action {
        Action::Send(to, Message::Announce { wanted, links, .. }) => Some((*to, *wanted, (**links).clone())),
        _ => None,
    });
    announced.collect()
}

fn wanted(actions: &[Action]) -> Vec<(HostId, u16)> {
    announced(actions)
        .into_iter()
        .map(|(to, wanted, _)| (to, wanted))
        .collect()
}

fn dialled(actions: &[Action]) -> Vec<HostId> {
    let dialled = actions.iter().filter_map(|action| match action {
        Action::Connect(contact) => Some(contact.host),
        _ => None,
    });
    dialled.collect()
}

#[test]
fn a_seeder_that_turns_requests_down_is_left_alone_for_twice_as_long_each_time_up_to_two_seconds() {
    for (reason, waits) in [
        (
            RejectReason::QueueFull,
            &[10, 20, 40, 80, 160, 320, 640, 1280, 2000, 2000][..],
        ),
        (RejectReason::Spent, &[500, 1000, 2000, 2000]),
    ] {
        let mut link = TrackerLink::new(2);
        let mut now = 0;
        for wait in waits {
            let until = at(now + wait);
            link.refused(at(now), S, reason);
            // What was under way is turned down as well.
            link.refused(at(now), S, reason);
            assert_eq!(link.next_turn(at(now)), Some(until), "{reason:?}");
            let before = at(now + wait - 1);
            assert!(link.is_refused(S, before) && !link.is_refused(S, until) && !link.is_refused(T, before));
            assert_eq!(link.refused_now(before).as_slice(), [S]);
            assert!(link.refused_now(until).is_empty());
            assert_eq!((link.next_turn(before), link.next_turn(until)), (Some(until), None));
            now += wait;
        }
        link.refused(at(now), T, reason);
        link.not_refused(S);
        link.refused(at(now), S, reason);
        let times = link
            .refusals
            .iter()
            .find(|refusal| refusal.seeder == S)
            .map(|refusal| refusal.until);
        assert_eq!(times, Some(at(now + waits[0])), "it had sent something");
        assert!(link.is_refused(T, at(now)), "the other had not");
    }
}

#[test]
fn the_seeder_that_turned_down_the_shortest_ago_is_not_the_one_that_is_asked_next() {
    let mut link = TrackerLink::new(2);
    link.refused(at(0), T, RejectReason::Spent);
    link.refused(at(0), S, RejectReason::QueueFull);
    assert_eq!(link.next_turn(at(0)), Some(at(10)));
    assert_eq!(link.next_turn(at(10)), Some(at(500)));
}

#[test]
fn a_link_is_dialled_up_or_lost_and_the_tracker_hears_once_of_one_that_is_lost() {
    let mut link = TrackerLink::new(1);
    link.dialling = vec![A, B];
    link.short = 3;
    link.link_lost(A);
    link.link_lost(A);
    assert_eq!(
        (link.dialling.as_slice(), link.lost.as_slice(), link.short),
        (&[B][..], &[A][..], 3)
    );
    link.link_lost(B);
    link.link_up(A);
    assert_eq!(
        (link.dialling_count(), link.lost.as_slice(), link.short),
        (0, &[B][..], 0)
    );
    (1000..1000 + 2 * LINKS_MAX as u64).for_each(|number| link.link_lost(HostId::new(number)));
    assert_eq!(link.lost.len(), LINKS_MAX, "no more than a message may say");
}

#[test]
fn the_tracker_is_the_first_seeder_that_is_not_lost_once_it_is_connected() {
    use SeederLink::{Connected, Dialled, Lost};
    for (seeders, tracker, connected, is_lost) in [
        ([Dialled, Dialled], None, 0, false),
        ([Dialled, Connected], None, 1, false),
        ([Connected, Connected], Some(0), 2, false),
        ([Lost, Connected], Some(1), 1, false),
        ([Lost, Dialled], None, 0, false),
        ([Connected, Lost], Some(0), 1, false),
        ([Lost, Lost], None, 0, true),
    ] {
        let mut link = TrackerLink::new(2);
        link.seeders = SmallVec::from_slice(&seeders);
        assert_eq!(
            (link.tracker(), link.connected_count(), link.is_lost()),
            (tracker, connected, is_lost),
            "{seeders:?}"
        );
    }
}

#[test]
fn neighbours_are_asked_of_the_tracker_and_the_other_seeders_hear_where_a_host_is() {
    let mut told = Told::new(12);
    assert_eq!(
        wanted(&told.tell(Event::Connected(T))),
        [(T, 0)],
        "the first may yet come"
    );
    assert_eq!(wanted(&told.tell(Event::Connected(S))), [(S, 6), (T, 0)]);
    assert!(!told.peer.has_joined());
    told.tell(Event::Message(T, Message::Neighbours(contacts(1..3))));
    assert!(!told.peer.tracker.has_answered(), "it is not the tracker's answer");
    assert_eq!(
        dialled(&told.tell(Event::Message(S, Message::Neighbours(contacts(2..7))))),
        (3..7).map(HostId::new).collect::<Vec<_>>()
    );
    assert!(told.peer.tracker.has_answered() && !told.peer.has_joined(), "it dials");
    for number in 1..7 {
        told.tell(Event::Connected(HostId::new(number)));
    }
    assert!(told.peer.has_joined());
    told.tell(Event::Disconnected(A));
    let links = |actions: &[Action]| {
        announced(actions)
            .into_iter()
            .map(|(to, _, links)| (to, links))
            .collect::<Vec<_>>()
    };
    let (_, actions) = told.wait_for(Timer::Announce);
    let up: Vec<HostId> = (2..7).map(HostId::new).collect();
    let report = LinkReport {
        up,
        lost: vec![A],
        ..LinkReport::default()
    };
    assert_eq!(links(&actions), [(S, report.clone()), (T, LinkReport::default())]);
    let (_, actions) = told.wait_for(Timer::Announce);
    let report = LinkReport { lost: vec![], ..report };
    assert_eq!(links(&actions)[0], (S, report), "what is lost is said once");
}

#[test]
fn an_announce_that_nobody_answers_is_repeated_ever_later_and_by_chance_up_to_half_as_much_again() {
    let mut told = Told::new(12);
    let mut last = told.now;
    told.tell(Event::Connected(S));
    for seconds in [3, 6, 12, 24, 30, 30] {
        let (now, actions) = told.wait_for(Timer::Announce);
        assert_eq!(wanted(&actions), [(S, 6)]);
        let waited = now.since(last);
        let least = Duration::from_secs(seconds);
        assert!(waited >= least && waited <= least * 3 / 2, "{waited:?} after {seconds}");
        last = now;
    }
    told.tell(Event::Message(S, Message::Neighbours(contacts(1..7))));
    assert_eq!(told.peer.tracker.attempts, 0);
}

#[test]
fn half_the_degree_is_wanted_at_first_and_later_what_is_lacking_to_it_or_to_two_less_than_it() {
    for (degree, first, later) in [(12, 6, 10), (3, 2, 2), (4, 2, 2), (5, 3, 3), (1, 1, 1), (20, 10, 18)] {
        let mut told = Told::new(degree);
        assert_eq!(told.peer.neighbours_wanted(), first, "{degree}");
        told.tell(Event::Connected(S));
        told.tell(Event::Message(S, Message::Neighbours(Vec::new())));
        assert_eq!(told.peer.neighbours_wanted(), later, "{degree}");
        told.peer.tracker.dialling = vec![B];
        told.tell(Event::Connected(A));
        assert_eq!(told.peer.neighbours_wanted(), later.saturating_sub(2), "{degree}");
    }
}

#[test]
fn with_fewer_than_half_the_degree_a_host_asks_after_one_two_and_four_seconds_and_else_after_thirty() {
    let spread = Duration::from_millis(ANNOUNCE_SPREAD_MS as u64);
    for (members, delays) in [(5, &[1, 1, 2, 4, 8, 16, 30, 30][..]), (6, &[30, 30])] {
        let mut told = Told::joined(12, 1..1 + members);
        told.tell(Event::Message(S, Message::Neighbours(Vec::new())));
        let mut last = told.now;
        for seconds in delays {
            let (now, _) = told.wait_for(Timer::Announce);
            let waited = now.since(last);
            let least = Duration::from_secs(*seconds);
            assert!(
                waited >= least && waited < least + spread,
                "{waited:?} for {seconds} with {members}"
            );
            last = now;
        }
        // A neighbour that comes begins it anew.
        told.tell(Event::Connected(HostId::new(50)));
        assert_eq!(told.peer.tracker.short, 0);
    }
}

#[test]
fn who_loses_a_neighbour_asks_for_another_in_a_moment_where_it_lacks_one() {
    for (members, asks) in [(11, false), (10, true)] {
        let mut told = Told::joined(12, 1..1 + members);
        told.now = at(1000);
        told.tell(Event::Disconnected(A));
        let at = told.peer.timers.get(Timer::Announce).unwrap();
        let waits = at.since(told.now);
        assert_eq!(waits < Duration::from_millis(500), asks, "{members}: {waits:?}");
        assert!(!asks || waits >= ANNOUNCE_GATHER);
    }
}

#[test]
fn a_dial_that_fails_is_reported_and_others_are_asked_for_later_each_time() {
    let mut told = Told::joined(12, 1..3);
    told.tell(Event::Message(S, Message::Neighbours(contacts(20..21))));
    told.peer.timers.clear(Timer::Announce);
    told.tell(Event::Disconnected(HostId::new(20)));
    assert!(told.peer.tracker.dialling.is_empty() && told.peer.tracker.lost == [HostId::new(20)]);
    let waits = told.peer.timers.get(Timer::Announce).unwrap().since(told.now);
    assert!(waits >= SHORT_FIRST && waits < SHORT_FIRST * 2, "{waits:?}");
    // Who lacks nobody does not ask.
    let mut told = Told::joined(12, 1..12);
    told.peer.timers.clear(Timer::Announce);
    told.tell(Event::Disconnected(HostId::new(20)));
    assert_eq!(told.peer.timers.get(Timer::Announce), None);
}

#[test]
fn twice_the_degree_and_two_are_dialled_at_most_and_the_tracker_hears_of_the_others() {
    let mut told = Told::joined(3, 1..5);
    let actions = told.tell(Event::Message(
        S,
        Message::Neighbours(contacts([1, 9, 10, 11, 12, 13, 14, 15])),
    ));
    assert_eq!(
        dialled(&actions),
        [10, 11, 12, 13].map(HostId::new),
        "1 is connected, and 9 is this host"
    );
    assert_eq!(told.peer.tracker.lost, [14, 15].map(HostId::new));
}

#[test]
fn where_there_is_no_room_one_that_is_of_no_use_makes_it() {
    let mut told = Told::joined(3, 1..9);
    let refused = |told: &mut Told, number: u64| {
        let actions = told.tell(Event::Connected(HostId::new(number)));
        actions.iter().any(|action| {
            matches!(
                action,
                Action::Disconnect {
                    reason: crate::event::DisconnectReason::TooManyNeighbours,
                    ..
                }
            )
        })
    };
    assert!(refused(&mut told, 30) && !told.peer.neighbours.contains(HostId::new(30)));
    for host in [A, B, B] {
        (0..3).for_each(|_| told.peer.neighbours.strike(Time::ZERO, host, Duration::from_secs(1)));
    }
    assert_eq!(told.peer.useful_count(), 6);
    let actions = told.tell(Event::Connected(HostId::new(31)));
    let gone = Action::Disconnect {
        host: B,
        reason: crate::event::DisconnectReason::NotServing,
    };
    assert!(actions.contains(&gone), "the one that has missed most");
    assert!(told.peer.neighbours.contains(HostId::new(31)));
    let actions = told.tell(Event::Message(S, Message::Neighbours(contacts([32]))));
    assert_eq!(
        dialled(&actions),
        [HostId::new(32)],
        "and the other one for who is named"
    );
    assert!(!told.peer.neighbours.contains(A));
}

#[test]
fn seeders_that_are_lost_are_dialled_again_and_those_that_are_connected_are_not() {
    let mut told = Told::new(12);
    told.tell(Event::Connected(S));
    assert!(
        told.peer.timers.get(Timer::Reconnect).is_some(),
        "one may not have been reached"
    );
    told.tell(Event::Connected(T));
    assert_eq!(told.peer.timers.get(Timer::Reconnect), None);
    told.now = at(500);
    told.tell(Event::Disconnected(T));
    let (now, actions) = told.wait_for(Timer::Reconnect);
    let waited = now.since(at(500));
    assert!(
        waited >= RECONNECT_FIRST && waited <= RECONNECT_FIRST * 3 / 2,
        "{waited:?}"
    );
    assert_eq!(dialled(&actions), [T]);
    let waits = told.peer.timers.get(Timer::Reconnect).unwrap().since(now);
    assert_eq!(waits, CONNECT_PATIENCE, "where nobody says that it was in vain");
}

/// A dial takes ten seconds to fail where nobody answers, and a host that waited for five more was alone for as long after the network was back.
#[test]
fn a_dial_that_took_long_to_fail_is_followed_by_another_in_a_moment() {
    let mut told = Told::joined(12, 1..3);
    let waits_after = |told: &mut Told, millis: u64| {
        told.now = told.now + Duration::from_millis(millis);
        told.tell(Event::Disconnected(S));
        let lost_at = told.now;
        told.wait_for(Timer::Reconnect).0.since(lost_at)
    };
    for _ in 0..4 {
        waits_after(&mut told, 1);
    }
    assert!(waits_after(&mut told, 1) >= RECONNECT_MAX - Duration::from_millis(1));
    let waited = waits_after(&mut told, 10_000);
    assert!(
        waited >= RECONNECT_FIRST && waited <= RECONNECT_FIRST * 3 / 2,
        "{waited:?}"
    );
}

#[test]
fn when_the_tracker_is_lost_the_next_seeder_is_asked_at_once_and_when_it_is_back_it_is_again() {
    let mut told = Told::joined(12, 1..3);
    assert_eq!(wanted(&told.tell(Event::Disconnected(T))), [], "it is not the tracker");
    told.tell(Event::Connected(T));
    told.tell(Event::Message(S, Message::Neighbours(Vec::new())));
    assert_eq!(wanted(&told.tell(Event::Disconnected(S))), [(T, 4)]);
    assert!(!told.peer.tracker.has_answered());
    told.tell(Event::Message(T, Message::Neighbours(Vec::new())));
    assert_eq!(wanted(&told.tell(Event::Connected(S))), [(S, 4), (T, 0)]);
}

#[test]
fn when_no_seeder_is_left_members_are_told_once_and_a_dial_in_vain_tells_nobody() {
    let mut told = Told::joined(12, 1..3);
    told.tell(Event::Disconnected(T));
    let to_members: Vec<HostId> = wanted(&told.tell(Event::Disconnected(S)))
        .into_iter()
        .map(|(to, _)| to)
        .collect();
    assert_eq!(to_members, [A, B]);
    assert!(told.peer.is_on_its_own());
    assert_eq!(wanted(&told.tell(Event::Disconnected(S))), []);
    assert_eq!(wanted(&told.tell(Event::Disconnected(T))), []);
}

#[test]
fn a_new_address_is_told_in_a_moment_to_who_has_answered_and_tried_on_seeders_that_are_lost() {
    let mut told = Told::joined(12, 1..12);
    told.peer.set_address(at(1000), "here".into());
    assert!(
        told.peer.timers.get(Timer::Announce).unwrap() > at(10_000),
        "it is where it was"
    );
    told.peer.set_address(at(1000), "elsewhere".into());
    assert_eq!(told.peer.timers.get(Timer::Announce), Some(at(1000) + ANNOUNCE_GATHER));
    let (_, actions) = told.wait_for(Timer::Announce);
    let address = actions.iter().find_map(|action| match action {
        Action::Send(S, Message::Announce { address, .. }) => Some(address.clone()),
        _ => None,
    });
    assert_eq!(address, Some("elsewhere".into()));
    told.now = at(5000);
    for seeder in [S, T] {
        told.tell(Event::Disconnected(seeder));
    }
    told.peer.timers.set(Timer::Reconnect, at(60_000));
    told.peer.timers.clear(Timer::Announce);
    told.peer.set_address(at(6000), "nowhere".into());
    assert_eq!(told.peer.timers.get(Timer::Reconnect), Some(at(6000) + RECONNECT_FIRST));
    told.now = told.peer.timers.get(Timer::Announce).unwrap();
    assert_eq!(told.now, at(6000) + ANNOUNCE_GATHER);
    assert_eq!(
        wanted(&told.tell(Event::Wakeup)).len(),
        11,
        "members are told where it is now"
    );
}

#[test]
fn a_seeder_that_sent_a_wrong_chunk_hears_of_it_when_it_is_back_once_and_of_the_last_one() {
    let mut told = Told::joined(12, 1..3);
    for index in [3, 5] {
        told.peer.tracker.complain_when_back(T, ChunkIndex::new(index));
    }
    told.peer.tracker.complain_when_back(S, ChunkIndex::new(7));
    let complaints = |actions: Vec<Action>| {
        let complaints = actions.into_iter().filter_map(|action| match action {
            Action::Send(to, Message::Complaint { host, chunk }) => Some((to, host, chunk)),
            _ => None,
        });
        complaints.collect::<Vec<_>>()
    };
    told.tell(Event::Disconnected(T));
    assert_eq!(complaints(told.tell(Event::Connected(T))), [(T, T, 5)]);
    told.tell(Event::Disconnected(T));
    assert_eq!(complaints(told.tell(Event::Connected(T))), []);
    assert_eq!(complaints(told.tell(Event::Connected(S))), [(S, S, 7)]);
}

#[test]
fn another_build_is_ignored_and_the_same_one_said_again_is_not_another() {
    let builds = ["a", "b"].map(|name| Manifest::of(name, &[name.as_bytes()[0]; 100], 64).unwrap().info());
    let mut told = Told::joined(12, 1..3);
    for (build, ignored) in [(0, 0), (0, 0), (1, 1), (1, 2)] {
        told.tell(Event::Message(S, Message::Build(Box::new(builds[build].clone()))));
        assert_eq!(told.peer.stats().messages_ignored, ignored);
    }
}
