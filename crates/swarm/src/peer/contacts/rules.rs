//! How hosts find each other without a seeder, each rule at the edge where it begins to hold.

use super::super::PeerConfig;
use super::*;
use crate::event::{Action, Event};

const SEEDER: HostId = HostId::new(0);
const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn contact(number: u64) -> Contact {
    Contact {
        host: HostId::new(number),
        address: "there".into(),
    }
}

fn contacts(numbers: impl IntoIterator<Item = u64>) -> Vec<Contact> {
    numbers.into_iter().map(contact).collect()
}

/// A host whose seeder is lost, or not, that is told what happens by hand.
struct Told {
    peer: Peer,
    now: Time,
}

impl Told {
    /// With members 1 to `members`, whom a seeder has named.
    fn with_seeder(degree: u16, members: u64) -> Self {
        let mut config = PeerConfig::new(HostId::new(9), "here".into(), contact(0));
        config.degree = degree;
        let mut told = Self {
            peer: Peer::new(config, 1, Time::ZERO),
            now: Time::ZERO,
        };
        while told.peer.poll_action().is_some() {}
        told.tell(Event::Connected(SEEDER));
        told.tell(Event::Message(SEEDER, Message::Neighbours(contacts(1..=members))));
        (1..=members).for_each(|number| drop(told.tell(Event::Connected(HostId::new(number)))));
        told
    }

    fn on_its_own(degree: u16, members: u64) -> Self {
        let mut told = Self::with_seeder(degree, members);
        told.tell(Event::Disconnected(SEEDER));
        told
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.peer.handle_event(self.now, event);
        std::iter::from_fn(|| self.peer.poll_action()).collect()
    }

    fn hear(&mut self, host: HostId, named: Vec<Contact>) -> Vec<HostId> {
        dialled(&self.tell(Event::Message(host, Message::Neighbours(named))))
    }

    /// `host` says that it lacks so many, and is linked with `up`. Whom it is told of.
    fn asked_by(&mut self, host: HostId, wanted: u16, up: &[u64]) -> Option<Vec<u64>> {
        let links = LinkReport {
            up: up.iter().copied().map(HostId::new).collect(),
            ..LinkReport::default()
        };
        let announce = Message::Announce {
            address: "there".into(),
            wanted,
            complete: false,
            zone: None,
            links: Box::new(links),
        };
        let actions = self.tell(Event::Message(host, announce));
        actions.into_iter().find_map(|action| match action {
            Action::Send(to, Message::Neighbours(named)) if to == host => {
                Some(named.iter().map(|contact| contact.host.get()).collect())
            }
            _ => None,
        })
    }
}

fn dialled(actions: &[Action]) -> Vec<HostId> {
    let dialled = actions.iter().filter_map(|action| match action {
        Action::Connect(contact) => Some(contact.host),
        _ => None,
    });
    dialled.collect()
}

/// Whom it tells where it is, and how many neighbours it lacks.
fn told_where(actions: &[Action]) -> Vec<(u64, u16, usize)> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Send(to, Message::Announce { wanted, links, .. }) => Some((to.get(), *wanted, links.up.len())),
        _ => None,
    });
    told.collect()
}

#[test]
fn without_a_seeder_all_neighbours_are_told_where_a_host_is_and_asked_for_others_while_it_lacks_some() {
    let mut full = Told::with_seeder(4, 4);
    assert_eq!(
        told_where(&full.tell(Event::Disconnected(SEEDER))),
        [(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0)]
    );
    assert_eq!(full.peer.timers.get(Timer::Announce), None, "it lacks nobody");
    assert!(full.peer.contacts.asked.is_empty());
    let mut short = Told::with_seeder(12, 2);
    let told = told_where(&short.tell(Event::Disconnected(SEEDER)));
    assert_eq!(told, [(1, 4, 2), (2, 4, 2)], "they hear whom it has");
    assert_eq!(short.peer.contacts.asked, [A, B]);
    assert!(short.peer.timers.get(Timer::Announce).is_some(), "and are asked again");
}

#[test]
fn who_comes_is_told_where_a_host_is_only_where_no_seeder_tells_it() {
    let comes = |told: &mut Told| told_where(&told.tell(Event::Connected(HostId::new(20))));
    assert_eq!(comes(&mut Told::with_seeder(12, 2)), []);
    assert_eq!(comes(&mut Told::on_its_own(12, 2)), [(20, 0, 0)]);
}

#[test]
fn who_lacks_neighbours_and_knows_members_dials_those_that_were_there_last_first() {
    let mut told = Told::on_its_own(6, 3);
    for number in 1..=3 {
        told.tell(Event::Disconnected(HostId::new(number)));
    }
    told.now = told.peer.timers.get(Timer::Announce).unwrap();
    assert_eq!(dialled(&told.tell(Event::Wakeup)), [3, 2, 1].map(HostId::new));
}

#[test]
fn a_neighbour_that_lacks_some_is_told_of_four_that_it_does_not_have_those_that_are_there_first() {
    let mut told = Told::with_seeder(12, 5);
    told.peer.note_contacts(&contacts([31, 32]));
    let named = told.asked_by(A, 3, &[2, 3]).unwrap();
    assert_eq!(named.len(), 4);
    let mut there = named[..2].to_vec();
    there.sort_unstable();
    assert_eq!(
        (there.as_slice(), &named[2..]),
        (&[4, 5][..], &[32, 31][..]),
        "then who came last to its knowledge"
    );
    assert_eq!(told.asked_by(B, 0, &[]), None, "it lacks nobody");
    let mut others = told.asked_by(B, 1, &[]).unwrap();
    others.sort_unstable();
    assert_eq!(others, [1, 3, 4, 5], "not of itself");
}

#[test]
fn a_neighbour_is_told_of_others_once_a_second() {
    let mut told = Told::with_seeder(12, 5);
    for (now, host, is_told) in [
        (0, A, true),
        (999, A, false),
        (999, B, true),
        (1000, A, true),
        (1998, B, false),
        (1999, B, true),
    ] {
        told.now = at(now);
        assert_eq!(told.asked_by(host, 1, &[]).is_some(), is_told, "{host} at {now}");
    }
}

#[test]
fn who_is_banned_is_named_to_nobody() {
    let mut told = Told::with_seeder(12, 2);
    told.peer.note_contacts(&contacts([31, 32]));
    told.peer.banned.insert(HostId::new(32), at(100_000));
    assert_eq!(told.asked_by(A, 3, &[]), Some(vec![2, 31]));
}

#[test]
fn a_neighbour_is_heard_only_when_it_was_asked_and_there_is_no_seeder_and_once() {
    let mut told = Told::with_seeder(12, 2);
    told.peer.contacts.asked = vec![A];
    assert_eq!(told.hear(A, contacts([40])), [], "there is a seeder");
    let mut told = Told::on_its_own(12, 2);
    assert_eq!(told.peer.stats().messages_ignored, 0);
    assert_eq!(
        told.hear(A, contacts([9, 1, 41, 42])),
        [41, 42].map(HostId::new),
        "not itself, nor who is there"
    );
    assert_eq!(told.hear(A, contacts([43])), []);
    assert_eq!(
        (told.peer.stats().messages_ignored, told.peer.stats().members_named),
        (1, 2)
    );
    assert_eq!(
        told.hear(B, contacts(50..60)),
        [50, 51].map(HostId::new),
        "as many as are lacking"
    );
    assert_eq!(told.peer.stats().members_named, 4);
    let known: Vec<u64> = told
        .peer
        .contacts
        .known
        .iter()
        .map(|known| known.contact.host.get())
        .collect();
    assert_eq!(known, [53, 52, 51, 50, 42, 41, 1, 2], "four of each at most");
}

#[test]
fn with_a_seeder_again_neighbours_are_asked_anew_when_it_is_lost_the_next_time() {
    let mut told = Told::on_its_own(4, 4);
    told.tell(Event::Connected(SEEDER));
    assert!(!told.peer.contacts.has_announced);
    assert_eq!(told_where(&told.tell(Event::Disconnected(SEEDER))).len(), 4);
    told.peer.contacts.asked = vec![A];
    told.tell(Event::Connected(SEEDER));
    assert!(told.peer.contacts.asked.is_empty());
}

#[test]
fn the_book_has_64_members_and_a_newly_named_one_takes_the_place_of_the_least_likely() {
    let mut book = Contacts::default();
    (1..=65).for_each(|number| book.note(contact(number)));
    let known: Vec<u64> = book.known.iter().map(|known| known.contact.host.get()).collect();
    assert_eq!(known, (2..=65).collect::<Vec<_>>());
}

#[test]
fn what_a_neighbour_says_pushes_nobody_out_whom_a_seeder_named_or_who_was_connected() {
    let mut book = Contacts::default();
    (1..=62).for_each(|number| book.note(contact(number)));
    book.note_hearsay(contact(100));
    book.note_hearsay(contact(101));
    book.link_up(HostId::new(101));
    book.unreachable(HostId::new(5));
    for number in 102..200 {
        book.note_hearsay(contact(number));
        assert_eq!(book.known[0].contact.host.get(), number, "only one place is left to it");
    }
    // A full book of those that were named has no room for hearsay at all.
    book.note(contact(63));
    book.note_hearsay(contact(300));
    let mut known: Vec<u64> = book.known.iter().map(|known| known.contact.host.get()).collect();
    known.sort_unstable();
    assert_eq!(known, (1..=63).chain([101]).collect::<Vec<_>>());
}
