//! How a peer stands, as it says to who drives it.

use super::*;
use crate::Holdings;

#[test]
fn it_says_what_it_holds_what_it_expects_and_why_it_wants_to_be_woken() {
    let mut driven = Driven::new(8, 3);
    assert_eq!(driven.peer.progress(), None, "its store is not open");
    driven.tell(Event::StoreOpened { held: set(8, [7]) });
    assert_eq!(driven.peer.progress(), Some((1, 8)));
    assert!(driven.peer.expects(A, chunk(2)) && !driven.peer.expects(A, chunk(0)) && !driven.peer.expects(B, chunk(2)));
    while driven.peer.stats().requests_overdue == 0 {
        driven.now = driven.peer.next_wakeup().unwrap();
        assert!(driven.now < Time::from_nanos(60_000_000_000));
        let reason = format!("{:?}", driven.peer.wakeup_reason());
        let known = ["Announce", "Flush", "RequestExpiry", "Starved", "Late"];
        assert!(known.iter().any(|timer| reason == format!("Some({timer})")), "{reason}");
        driven.tell(Event::Wakeup);
    }
}

#[test]
fn it_is_hungry_while_it_may_ask_for_more_or_somebody_is_late() {
    let mut driven = Driven::new(8, 8);
    assert!(!driven.peer.is_hungry(), "its store is not open");
    assert_eq!(driven.asks_after(Event::StoreOpened { held: set(8, []) }).len(), 2);
    assert!(driven.peer.is_hungry(), "of three that may be asked for two are");
    driven.tell(Event::Connected(B));
    assert_eq!(driven.asks_after(Event::Message(B, Message::HaveAll)).len(), 1);
    assert!(!driven.peer.is_hungry(), "three are");
    while !ledger_of(&driven).has_late() {
        driven.now = driven.peer.timers.get(Timer::RequestExpiry).unwrap();
        driven.tell(Event::Wakeup);
    }
    assert!(driven.peer.is_hungry(), "somebody is late");
    let mut done = holding(8, 8);
    assert!(!done.peer.is_hungry());
    done.tell(Event::ChunkLost { chunk: chunk(1) });
    assert!(done.peer.is_hungry());
}

fn ledger_of(driven: &Driven) -> &ledger::Ledger {
    &driven.peer.download().unwrap().ledger
}

/// With what a seeder sends that has shown all, there is as much room for others as without.
#[test]
fn what_a_seeder_sends_beside_others_leaves_it_as_hungry() {
    let mut driven = Driven::new(8, 0);
    driven.tell(Event::StoreOpened { held: set(8, []) });
    driven.tell(Event::Connected(B));
    let have = Message::Have([0].into_iter().collect());
    assert_eq!(driven.asks_after(Event::Message(B, have)), BTreeSet::from([(B, 0)]));
    assert_eq!(driven.asks_after(Event::Message(SEEDER, Message::HaveAll)).len(), 2);
    assert!(driven.peer.is_hungry());
}

/// What A holds.
struct Table(Bitfield);

impl Holdings for Table {
    fn held_by(&self, host: HostId) -> Option<&Bitfield> {
        (host == A).then_some(&self.0)
    }

    fn is_busy(&self, _host: HostId) -> Option<bool> {
        None
    }
}

#[test]
fn when_the_table_has_grown_a_hungry_peer_asks_for_what_is_new() {
    let seeder = Contact {
        host: SEEDER,
        address: "".into(),
    };
    let peer = Peer::with_table(PeerConfig::new(HostId::new(9), "".into(), seeder), 1, Time::ZERO);
    let mut driven = Driven::of(peer);
    let manifest = Arc::new(Manifest::of("build", &[7; 100], 64).unwrap());
    driven.tell(Event::Connected(SEEDER));
    driven.tell(Event::Message(SEEDER, Message::Build(Box::new(manifest.info()))));
    driven.tell(Event::Connected(A));
    driven.tell(Event::Message(A, Message::Manifest(manifest)));
    let mut table = Table(Bitfield::new(2));
    let held = set(2, []);
    driven
        .peer
        .handle_event_with(driven.now, Event::StoreOpened { held }, &table);
    while driven.peer.poll_action().is_some() {}
    table.0.insert(chunk(1));
    driven.peer.handle_growth_with(driven.now, &table);
    let actions: Vec<Action> = std::iter::from_fn(|| driven.peer.poll_action()).collect();
    assert_eq!(requests(&actions), BTreeSet::from([(A, 1)]));
    assert_eq!(driven.peer.chunks_without_source_in(&table), [chunk(0)]);
    assert_eq!(driven.peer.chunks_without_source().len(), 2, "nobody has said anything");
}

#[test]
#[should_panic = "h9 goes by a table"]
fn who_goes_by_a_table_is_to_be_told_with_it() {
    let seeder = Contact {
        host: SEEDER,
        address: "".into(),
    };
    let peer = Peer::with_table(PeerConfig::new(HostId::new(9), "".into(), seeder), 1, Time::ZERO);
    Driven::of(peer).peer.handle_event(Time::ZERO, Event::Connected(SEEDER));
}

#[test]
fn no_more_than_a_thousand_and_a_few_bans_are_remembered() {
    let mut driven = holding(4, 2);
    for number in 100..1200 {
        let host = HostId::new(number);
        driven.tell(Event::Connected(host));
        driven.tell(Event::Message(host, Message::Invite { chunk: 4 }));
    }
    assert_eq!(driven.peer.banned().count(), 1024);
    assert_eq!(driven.peer.stats().neighbours_banned, 1024);
}

#[test]
fn a_ban_lasts_for_ten_minutes() {
    for (millis, is_banned) in [(599_999, true), (600_000, false)] {
        let mut driven = holding(4, 2);
        driven.tell(Event::Message(A, Message::Invite { chunk: 4 }));
        driven.pass(millis);
        let actions = driven.tell(Event::Connected(A));
        assert_eq!(
            actions.contains(&gone(A, DisconnectReason::Banned)),
            is_banned,
            "{millis}"
        );
    }
}

#[test]
fn a_host_says_its_zone_to_members_and_not_to_seeders() {
    let mut driven = in_zone_1(8, 0);
    let says = |driven: &mut Driven, host| {
        let actions = driven.tell(Event::Connected(host));
        sent_to(&actions, host).contains(&Message::Zone(zone(1)))
    };
    assert_eq!([B, SEEDER].map(|host| says(&mut driven, host)), [true, false]);
}

#[test]
fn a_set_of_chunks_is_heard_from_a_member_and_an_announcement_not_from_a_seeder() {
    let mut driven = holding(8, 0);
    driven.tell(Event::Connected(B));
    let has = Message::HaveSet(set(8, [5]));
    assert_eq!(driven.asks_after(Event::Message(B, has)), BTreeSet::from([(B, 5)]));
    let announce = Message::Announce {
        address: "there".into(),
        wanted: 1,
        complete: false,
        zone: None,
        links: Box::default(),
    };
    let ignored = driven.peer.stats().messages_ignored;
    assert_eq!(driven.tell(Event::Message(SEEDER, announce)), []);
    assert_eq!(driven.peer.stats().messages_ignored, ignored + 1);
}

#[test]
#[should_panic = "h9 is told of Connected(HostId(2)) while actions wait"]
fn nothing_new_is_told_while_actions_wait() {
    let mut driven = holding(8, 4);
    driven.peer.handle_event(driven.now, Event::Connected(B));
    driven.peer.handle_event(driven.now, Event::Disconnected(B));
    driven.peer.handle_event(driven.now, Event::Connected(B));
}

#[test]
fn a_queue_that_is_lent_takes_the_actions() {
    let mut driven = holding(8, 4);
    driven.peer.handle_event(driven.now, Event::Connected(B));
    let mut lent = VecDeque::new();
    driven.peer.swap_actions(&mut lent);
    assert!(!lent.is_empty());
    assert_eq!(driven.peer.poll_action(), None);
    driven.peer.swap_actions(&mut lent);
    assert!(lent.is_empty() && driven.peer.poll_action().is_some());
}
