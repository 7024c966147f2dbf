//! What a peer decides between events, where a whole swarm would hide it.

mod rules;

use std::collections::BTreeSet;

use super::*;
use crate::ChunkPolicy;
use crate::manifest::Hash;
use crate::units::{Bytes, ZoneId};
use crate::wire::{Contact, RejectReason, Waited};
use crate::{Bitfield, Message};

const SEEDER: HostId = HostId::new(0);
const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);

/// A peer that is told what happens by hand.
struct Driven {
    peer: Peer,
    now: Time,
}

impl Driven {
    /// Of a build of so many chunks, of which it has the manifest from [`A`], who has the first `has`.
    fn new(chunks: u32, has: u32) -> Self {
        Self::in_zone(None, chunks, has)
    }

    /// A host that has heard of no build, and of nobody but its seeder.
    fn of_no_build() -> Self {
        let seeder = Contact {
            host: SEEDER,
            address: "".into(),
        };
        Self::of(Peer::new(
            PeerConfig::new(HostId::new(9), "".into(), seeder),
            1,
            Time::ZERO,
        ))
    }

    /// A peer that is told nothing yet, and dials its seeders.
    fn of(mut peer: Peer) -> Self {
        while peer.poll_action().is_some() {}
        Self { peer, now: Time::ZERO }
    }

    fn in_zone(zone: Option<ZoneId>, chunks: u32, has: u32) -> Self {
        Self::of_chunks(1024, zone, chunks, has, false)
    }

    /// Likewise with chunks of so many bytes, of which the last may be of one byte.
    fn of_chunks(bytes: u32, zone: Option<ZoneId>, chunks: u32, has: u32, ends_short: bool) -> Self {
        let seeder = Contact {
            host: SEEDER,
            address: "".into(),
        };
        let mut config = PeerConfig::new(HostId::new(9), "".into(), seeder);
        config.zone = zone;
        // What is asked for is told, and not how many at a time.
        (config.chunks_in_flight_max, config.requests_per_neighbour_max) = (Some(3), Some(2));
        let mut driven = Self::of(Peer::new(config, 1, Time::ZERO));
        let hashes = (0..chunks).map(|chunk| Hash::of(&chunk.to_le_bytes())).collect();
        let lacks = if ends_short { bytes - 1 } else { 0 };
        let size = Bytes::new(u64::from(chunks) * u64::from(bytes) - u64::from(lacks));
        let manifest = Arc::new(Manifest::new("build", size, bytes, hashes).unwrap());
        driven.tell(Event::Connected(SEEDER));
        driven.tell(Event::Message(SEEDER, Message::Build(Box::new(manifest.info()))));
        driven.tell(Event::Connected(A));
        driven.tell(Event::Message(A, Message::Have((0..has).collect())));
        driven.pass(1);
        driven.tell(Event::Message(A, Message::Manifest(Arc::clone(&manifest))));
        driven
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.peer.handle_event_with(self.now, event, &Heard);
        std::iter::from_fn(|| self.peer.poll_action()).collect()
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    /// What it asks of whom after an event.
    fn asks_after(&mut self, event: Event) -> BTreeSet<(HostId, u32)> {
        let actions = self.tell(event).into_iter();
        let asks = actions.filter_map(|action| match action {
            Action::Send(host, Message::Request { chunk, .. }) => Some((host, chunk)),
            _ => None,
        });
        asks.collect()
    }

    fn serving(&mut self, from: HostId, chunk: u32) {
        self.tell(Event::Message(
            from,
            Message::Serving {
                chunk,
                waited: Waited::NONE,
            },
        ));
    }

    fn stored(&mut self, from: HostId, chunk: u32) -> BTreeSet<(HostId, u32)> {
        let chunk = ChunkIndex::new(chunk);
        self.asks_after(Event::ChunkStored { from, chunk })
    }
}

#[test]
fn who_lets_a_tied_request_become_overdue_is_asked_last_from_then_on() {
    let mut driven = Driven::new(60, 41);
    let held = Box::new(Bitfield::new(60));
    let mut asked: Vec<_> = driven.asks_after(Event::StoreOpened { held }).into_iter().collect();
    // A begins at once and takes long, so that ties pay. Only with the last chunk it does not begin.
    for _ in 0..40 {
        for (from, chunk) in asked.iter().filter(|(_, chunk)| *chunk > 0) {
            driven.serving(*from, *chunk);
        }
        driven.pass(100);
        let (from, chunk) = asked.remove(0);
        asked.extend(driven.stored(from, chunk));
    }
    let [(A, last)] = asked[..] else {
        panic!("{asked:?} are asked for");
    };
    // A stops. B comes and is asked for the same, but later: it is in time when A is not any more.
    driven.pass(1000);
    driven.tell(Event::Connected(B));
    let ties = driven.asks_after(Event::Message(B, Message::Have([last].into_iter().collect())));
    assert_eq!(ties, BTreeSet::from([(B, last)]));
    for _ in 0..100 {
        if driven.peer.stats().requests_overdue > 0 {
            break;
        }
        driven.pass(100);
        driven.tell(Event::Wakeup);
    }
    driven.serving(B, last);
    driven.stored(B, last);
    // Both have what comes next. B is busy with as much as one neighbour is asked for, and A has yet to make up.
    let more = || Message::Have((50..60).collect());
    let asks = driven.asks_after(Event::Message(B, more()));
    assert_eq!(asks, BTreeSet::from([(B, 59), (B, 58)]));
    asks.iter().for_each(|(host, chunk)| driven.serving(*host, *chunk));
    assert_eq!(driven.asks_after(Event::Message(A, more())), BTreeSet::new());
    assert!(driven.peer.stats().requests_overdue >= 1);
}

fn zone(number: u32) -> ZoneId {
    ZoneId::named(&number.to_string())
}

/// A host of zone 1 that has all `chunks` chunks from the seeder.
fn seeded_in_zone_1(chunks: u32) -> Driven {
    let mut driven = Driven::in_zone(Some(zone(1)), chunks, 0);
    let held = Box::new(Bitfield::new(chunks));
    driven.tell(Event::StoreOpened { held });
    for chunk in 0..chunks {
        let offered = driven.asks_after(Event::Message(SEEDER, Message::Offer([chunk].into_iter().collect())));
        assert_eq!(offered, BTreeSet::from([(SEEDER, chunk)]));
        driven.pass(10);
        driven.stored(SEEDER, chunk);
    }
    driven
}

/// To whom chunks are shown that their zone lacks.
fn invitations(actions: Vec<Action>) -> Vec<(HostId, u32)> {
    let invitation = |action| match action {
        Action::Send(host, Message::Invite { chunk }) => Some((host, chunk)),
        _ => None,
    };
    actions.into_iter().filter_map(invitation).collect()
}

#[test]
fn a_zone_is_said_once_in_a_connection() {
    let mut driven = seeded_in_zone_1(20);
    driven.tell(Event::Connected(B));
    assert_eq!(invitations(driven.tell(Event::Message(B, Message::Zone(zone(2))))), []);
    let first = invitations(driven.tell(Event::Message(B, Message::Have([3].into_iter().collect()))));
    assert_eq!(first.len(), 19, "of what it does not say that it has");
    for number in 3..100 {
        let more = driven.tell(Event::Message(B, Message::Zone(zone(number))));
        assert_eq!(invitations(more), []);
    }
    assert_eq!(driven.peer.stats().messages_ignored, 97);
}

/// A host that had all was invited to a hundred chunks, since it said where it is before what it has.
#[test]
fn who_has_everything_is_invited_to_nothing() {
    let mut driven = seeded_in_zone_1(20);
    driven.tell(Event::Connected(B));
    for message in [Message::Zone(zone(2)), Message::HaveAll] {
        assert_eq!(invitations(driven.tell(Event::Message(B, message))), []);
    }
}

/// What a host has had for long it need not tell a zone of all at once; the zone asks for more by taking up what it is told of.
#[test]
fn invitations_to_a_zone_that_comes_late_are_paced_by_its_requests() {
    let mut driven = seeded_in_zone_1(200);
    driven.tell(Event::Connected(B));
    let mut told: Vec<u32> = Vec::new();
    let mut take = |actions: Vec<Action>| {
        let more = invitations(actions);
        told.extend(more.iter().map(|(_, chunk)| chunk));
        more.len()
    };
    driven.tell(Event::Message(B, Message::Zone(zone(2))));
    let has_nothing = Event::Message(B, Message::Have([].into_iter().collect()));
    assert!((1..=40).contains(&take(driven.tell(has_nothing))));
    for chunk in 0..200 {
        let held = chunk;
        let at_once = take(driven.tell(Event::Message(B, Message::Request { chunk, held })));
        assert!(at_once <= 4, "{at_once}");
        let chunk = ChunkIndex::new(chunk);
        take(driven.tell(Event::ChunkServed { to: B, chunk }));
    }
    assert_eq!(told, (0..200).collect::<Vec<u32>>(), "each once");
}

#[test]
fn nobody_is_invited_to_what_was_lost() {
    let mut driven = seeded_in_zone_1(4);
    driven.tell(Event::ChunkLost {
        chunk: ChunkIndex::new(2),
    });
    driven.tell(Event::Connected(B));
    driven.tell(Event::Message(B, Message::Zone(zone(2))));
    let told = invitations(driven.tell(Event::Message(B, Message::Have([].into_iter().collect()))));
    assert_eq!(told, [(B, 0), (B, 1), (B, 3)]);
}

/// After a partition all may have all by then: twenty hosts said a hundred things each for nothing.
#[test]
fn nobody_is_invited_to_what_it_has() {
    let mut driven = seeded_in_zone_1(4);
    driven.tell(Event::Connected(B));
    driven.tell(Event::Message(B, Message::Have([0, 2].into_iter().collect())));
    let told = invitations(driven.tell(Event::Message(B, Message::Zone(zone(2)))));
    assert_eq!(told, [(B, 1), (B, 3)]);
}

/// Six neighbours say that they know the build and are silent when they are asked for its manifest: the seeder is asked as well, at once
/// and not when all of them have had their turn.
#[test]
fn who_claims_to_know_the_build_and_is_silent_does_not_keep_the_manifest_from_anybody() {
    let mut driven = Driven::of_no_build();
    let manifest = Manifest::of("build", &[7; 100], 64).unwrap();
    driven.tell(Event::Connected(SEEDER));
    let claims = (1..=6).map(HostId::new).flat_map(|host| {
        let have = Message::Have([].into_iter().collect());
        [Event::Connected(host), Event::Message(host, have)]
    });
    let told = std::iter::once(Event::Message(SEEDER, Message::Build(Box::new(manifest.info())))).chain(claims);
    let mut asked: Vec<HostId> = Vec::new();
    let mut note = |actions: Vec<Action>| {
        asked.extend(actions.into_iter().filter_map(|action| match action {
            Action::Send(host, Message::ManifestRequest) => Some(host),
            _ => None,
        }));
        asked.contains(&SEEDER)
    };
    told.for_each(|event| {
        note(driven.tell(event));
    });
    loop {
        driven.now = driven.peer.next_wakeup().unwrap();
        if note(driven.tell(Event::Wakeup)) {
            break;
        }
        assert!(driven.now < Time::from_nanos(3_000_000_000), "{asked:?} are asked");
    }
}

/// What it declines of what a seeder offers.
fn declined(actions: Vec<Action>) -> Vec<u32> {
    let declined = actions.into_iter().filter_map(|action| match action {
        Action::Send(SEEDER, Message::Decline(chunks)) => Some(chunks),
        _ => None,
    });
    declined.flatten().collect()
}

#[test]
fn each_chunk_that_a_seeder_offers_is_asked_for_or_declined() {
    let mut driven = Driven::new(8, 3);
    let mut held = Bitfield::new(8);
    held.insert(ChunkIndex::new(5));
    let asks = driven.asks_after(Event::StoreOpened { held: Box::new(held) });
    assert_eq!(asks, BTreeSet::from([(A, 2), (A, 1)]), "two at a time of one neighbour");
    let actions = driven.tell(Event::Message(SEEDER, Message::Offer((1..8).collect())));
    let asked = actions.iter().filter_map(|action| match action {
        Action::Send(SEEDER, Message::Request { chunk, .. }) => Some(*chunk),
        _ => None,
    });
    let asked: BTreeSet<u32> = asked.collect();
    let needless = declined(actions);
    assert_eq!(needless, [1, 2, 5], "on their way, or held");
    assert!(
        !asked.is_empty() && asked.iter().all(|chunk| !needless.contains(chunk)),
        "{asked:?}"
    );
    // It is reminded of them: that it waits for them there is no reason to decline them.
    let actions = driven.tell(Event::Message(SEEDER, Message::Offer(asked.iter().copied().collect())));
    assert_eq!(declined(actions), [0; 0], "{asked:?} are asked of the seeder itself");
}

/// Hosts left a seeder alone that had turned something down, and with it what it offered them: a build of 57 ms took 2.3 s. With each offer
/// they asked again for what it had offered to somebody else.
#[test]
fn what_an_offering_seeder_turns_down_is_not_asked_for_again_and_what_else_it_offers_is() {
    let mut driven = Driven::new(8, 0);
    driven.tell(Event::StoreOpened {
        held: Box::new(Bitfield::new(8)),
    });
    let offer = |chunk: u32| Event::Message(SEEDER, Message::Offer([chunk].into_iter().collect()));
    assert_eq!(driven.asks_after(offer(3)), BTreeSet::from([(SEEDER, 3)]));
    assert_eq!(driven.asks_after(offer(4)), BTreeSet::from([(SEEDER, 4)]));
    let reject = |chunk: u32, reason: RejectReason| Event::Message(SEEDER, Message::Reject { chunk, reason });
    assert_eq!(driven.asks_after(reject(3, RejectReason::QueueFull)), BTreeSet::new());
    assert_eq!(driven.asks_after(offer(5)), BTreeSet::from([(SEEDER, 5)]));
    assert_eq!(driven.asks_after(offer(3)), BTreeSet::new(), "two at a time");
    assert_eq!(
        driven.asks_after(reject(4, RejectReason::SentElsewhere)),
        BTreeSet::from([(SEEDER, 3)]),
        "it is offered once more"
    );
}

/// It was started anew, and would offer one chunk after another that is out.
#[test]
fn a_seeder_that_offers_what_is_held_is_told_once_what_is() {
    let mut driven = Driven::new(64, 0);
    let held = (0..16).fold(Bitfield::new(64), |mut held, chunk| {
        held.insert(ChunkIndex::new(chunk));
        held
    });
    driven.tell(Event::StoreOpened {
        held: Box::new(held.clone()),
    });
    let mut told_after = |chunk: u32| {
        let actions = driven.tell(Event::Message(SEEDER, Message::Offer([chunk].into_iter().collect())));
        let told = actions.iter().filter_map(|action| match action {
            Action::Send(SEEDER, Message::HaveSet(set)) => Some(set.clone()),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(told_after(20), [], "it is asked for that");
    assert_eq!(told_after(3), [Box::new(held)]);
    assert_eq!(told_after(4), []);
}

/// A host that is started again has much of what it is offered, and knows that only when its store is open.
#[test]
fn an_offer_that_came_before_the_store_was_open_is_answered_too() {
    let mut driven = Driven::new(8, 0);
    driven.tell(Event::Message(SEEDER, Message::HaveAll));
    driven.tell(Event::Message(SEEDER, Message::Offer([5, 6].into_iter().collect())));
    let mut held = Bitfield::new(8);
    held.insert(ChunkIndex::new(5));
    let actions = driven.tell(Event::StoreOpened { held: Box::new(held) });
    let asks: Vec<&Action> = actions
        .iter()
        .filter(|a| matches!(a, Action::Send(_, Message::Request { .. })))
        .collect();
    let request = Message::Request { chunk: 6, held: 1 };
    assert_eq!(
        asks,
        [&Action::Send(SEEDER, request)],
        "what it showed before it does not show any more"
    );
    assert_eq!(declined(actions), [5]);
}

#[test]
fn hosts_offer_nothing_and_seeders_have_nothing_but_all() {
    let mut driven = Driven::new(8, 0);
    driven.tell(Event::StoreOpened {
        held: Box::new(Bitfield::new(8)),
    });
    let list = || [1, 2].into_iter().collect();
    let from_a_host = driven.tell(Event::Message(A, Message::Offer(list())));
    assert_eq!(from_a_host, []);
    let set = Box::new(Bitfield::full(8));
    for message in [
        Message::Have(list()),
        Message::HaveSet(set),
        Message::Invite { chunk: 1 },
        Message::Decline(list()),
    ] {
        assert_eq!(driven.tell(Event::Message(SEEDER, message)), []);
    }
    assert_eq!(driven.peer.stats().messages_ignored, 5);
}

#[test]
fn payload_is_counted_once_by_where_it_came_from_or_as_wasted() {
    let mut driven = Driven::new(8, 3);
    let bytes = |driven: &Driven| {
        let payload = driven.peer.payload();
        [payload.from_seeders, payload.from_peers, payload.wasted]
    };
    let asks = driven.asks_after(Event::StoreOpened {
        held: Box::new(Bitfield::new(8)),
    });
    assert_eq!(asks, BTreeSet::from([(A, 2), (A, 1)]));
    driven.stored(A, 2);
    assert_eq!(bytes(&driven), [0, 1024, 0]);
    driven.tell(Event::Message(SEEDER, Message::Offer([7].into_iter().collect())));
    driven.stored(SEEDER, 7);
    assert_eq!(bytes(&driven), [1024, 1024, 0]);
    driven.peer.count_discarded(100);
    let chunk = ChunkIndex::new(1);
    driven.tell(Event::ChunkCorrupt { from: A, chunk });
    assert_eq!(bytes(&driven), [1024, 1024, 1124]);
}

#[test]
fn time_that_seems_to_go_back_stands_still() {
    let mut driven = Driven::new(8, 3);
    driven.pass(10_000);
    let held = Box::new(Bitfield::new(8));
    driven.tell(Event::StoreOpened { held });
    let expires_at = driven.peer.next_wakeup();
    let late = std::mem::replace(&mut driven.now, Time::from_nanos(1));
    let asks = driven.asks_after(Event::Message(SEEDER, Message::Offer([7].into_iter().collect())));
    assert_eq!(asks, BTreeSet::from([(SEEDER, 7)]));
    assert_eq!(
        driven.peer.next_wakeup(),
        expires_at,
        "no request is older than the event before it"
    );
    driven.now = late;
    assert_eq!(driven.asks_after(Event::Wakeup), BTreeSet::new());
}

/// With a policy that counts who holds what, a table of it would be of no use.
#[test]
fn a_peer_with_a_table_gossips_unless_its_policy_counts_holders() {
    for policy in [ChunkPolicy::LatestUseful, ChunkPolicy::RarestFirst] {
        let mut config = PeerConfig::new(
            HostId::new(9),
            "".into(),
            Contact {
                host: SEEDER,
                address: "".into(),
            },
        );
        config.policy = policy;
        let mut driven = Driven::of(Peer::with_table(config, 1, Time::ZERO));
        let manifest = Arc::new(Manifest::of("build", &[7; 100], 64).unwrap());
        driven.tell(Event::Connected(SEEDER));
        driven.tell(Event::Message(SEEDER, Message::Build(Box::new(manifest.info()))));
        driven.tell(Event::Connected(A));
        driven.tell(Event::Message(A, Message::HaveAll));
        driven.tell(Event::Message(A, Message::Manifest(manifest)));
        driven.tell(Event::StoreOpened {
            held: Box::new(Bitfield::new(2)),
        });
        let actions = driven.tell(Event::ChunkStored {
            from: A,
            chunk: ChunkIndex::new(1),
        });
        let gossips = actions.iter().any(|action| matches!(action, Action::Gossip(_)));
        assert_eq!(gossips, !policy.counts_holders(), "{policy:?}");
    }
}

#[test]
fn a_ban_passes() {
    let mut driven = Driven::new(4, 4);
    let held = Box::new(Bitfield::new(4));
    let asks = driven.asks_after(Event::StoreOpened { held });
    let chunk = ChunkIndex::new(asks.first().unwrap().1);
    driven.tell(Event::ChunkCorrupt { from: A, chunk });
    assert!(driven.peer.banned().eq([A]));
    let banned = |driven: &mut Driven| {
        let actions = driven.tell(Event::Connected(A));
        actions.iter().any(|action| matches!(action, Action::Disconnect { .. }))
    };
    driven.pass(9 * 60 * 1000);
    assert!(banned(&mut driven));
    driven.pass(2 * 60 * 1000);
    assert!(!banned(&mut driven) && driven.peer.banned().count() == 0);
}

/// Announces that nobody has answered yet are no reason to dial later.
#[test]
fn a_lost_seeder_is_dialled_within_a_second_and_ever_later_after_that() {
    let mut driven = Driven::new(4, 1);
    let mut waited = Vec::new();
    for _ in 0..6 {
        driven.tell(Event::Disconnected(SEEDER));
        let lost_at = driven.now;
        let dials = |action: &Action| matches!(action, Action::Connect(contact) if contact.host == SEEDER);
        while !driven.tell(Event::Wakeup).iter().any(dials) {
            driven.pass(10);
            assert!(driven.now.since(lost_at) < Duration::from_secs(7));
        }
        waited.push(driven.now.since(lost_at));
    }
    assert!(waited[0] <= Duration::from_millis(760), "{waited:?}");
    assert!(
        waited[1] >= Duration::from_secs(1) && waited[1] <= Duration::from_millis(1510),
        "{waited:?}"
    );
    assert!(waited[5] >= Duration::from_secs(4), "{waited:?}");
}

#[test]
fn when_who_was_asked_for_the_manifest_goes_the_next_is_asked_at_once() {
    let seeder = Contact {
        host: SEEDER,
        address: "".into(),
    };
    let config = PeerConfig::new(HostId::new(9), "".into(), seeder);
    let mut driven = Driven::of(Peer::new(config, 1, Time::ZERO));
    let manifest = Manifest::new("build", Bytes::new(1), 1024, vec![Hash::of(b"0")]).unwrap();
    let mut asked_after = |event: Event| -> Vec<HostId> {
        let actions = driven.tell(event).into_iter();
        let asked = actions.filter_map(|action| match action {
            Action::Send(host, Message::ManifestRequest) => Some(host),
            _ => None,
        });
        asked.collect()
    };
    asked_after(Event::Connected(SEEDER));
    assert_eq!(
        asked_after(Event::Message(SEEDER, Message::Build(Box::new(manifest.info())))),
        [],
        "others may know it in a moment"
    );
    for host in [A, B] {
        asked_after(Event::Connected(host));
    }
    assert_eq!(asked_after(Event::Message(A, Message::HaveAll)), [A]);
    assert_eq!(
        asked_after(Event::Message(B, Message::HaveAll)),
        [],
        "A has yet to answer"
    );
    assert_eq!(asked_after(Event::Disconnected(A)), [SEEDER], "it is the seeder's turn");
    assert_eq!(asked_after(Event::Disconnected(SEEDER)), [B]);
    assert_eq!(asked_after(Event::Disconnected(B)), [], "nobody is there");
    asked_after(Event::Connected(A));
    assert_eq!(
        asked_after(Event::Message(A, Message::HaveAll)),
        [A],
        "and then whoever comes"
    );
}

#[test]
fn a_manifest_that_comes_with_the_build_is_taken_and_shows_no_round_trip() {
    let mut driven = Driven::of_no_build();
    let manifest = Arc::new(Manifest::of("build", &[1; 100], 64).unwrap());
    driven.tell(Event::Connected(SEEDER));
    driven.tell(Event::Message(SEEDER, Message::Build(Box::new(manifest.info()))));
    driven.pass(50);
    let actions = driven.tell(Event::Message(SEEDER, Message::Manifest(Arc::clone(&manifest))));
    assert!(actions.contains(&Action::OpenStore(Arc::clone(&manifest))));
    let held = Box::new(Bitfield::new(manifest.chunk_count()));
    driven.tell(Event::StoreOpened { held });
    let download = driven.peer.download().expect("its store is open");
    assert_eq!(download.ledger.round_trip(), Duration::ZERO);
}

#[test]
fn what_came_side_by_side_counts_as_the_downlink_where_chunks_are_large_enough_to_tell_of_queues() {
    const LARGE: u32 = 256 << 10;
    // The build ends with a chunk of a byte where that is said.
    for (bytes, short, downlink) in [
        (LARGE, false, u64::from(LARGE) * 2 * 10),
        (LARGE - 1, false, 0),
        (LARGE, true, 0),
    ] {
        let mut driven = Driven::of_chunks(bytes, None, 2, 2, short);
        let held = Box::new(Bitfield::new(2));
        assert_eq!(driven.asks_after(Event::StoreOpened { held }).len(), 2);
        for chunk in 0..2 {
            driven.serving(A, chunk);
        }
        driven.pass(100);
        for chunk in 0..2 {
            driven.stored(A, chunk);
        }
        assert_eq!(driven.peer.uploads.downlink(), downlink, "{bytes} {short}");
    }
}
