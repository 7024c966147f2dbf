//! What a peer tells whom, and what it answers, each rule at the edge where it begins to hold.

mod downloads;
mod manifests;
mod standing;

use super::*;
use crate::event::DisconnectReason;
use crate::wire::RejectReason;

const C: HostId = HostId::new(3);

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

fn set(chunks: u32, held: impl IntoIterator<Item = u32>) -> Box<Bitfield> {
    let mut set = Bitfield::new(chunks);
    held.into_iter().for_each(|index| {
        set.insert(chunk(index));
    });
    Box::new(set)
}

/// Of a build of so many chunks, of which it holds the first `held` and its neighbour A nothing.
fn holding(chunks: u32, held: u32) -> Driven {
    let mut driven = Driven::new(chunks, 0);
    driven.tell(Event::StoreOpened {
        held: set(chunks, 0..held),
    });
    driven
}

fn sent_to(actions: &[Action], host: HostId) -> Vec<Message> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send(to, message) if *to == host => Some(message.clone()),
        _ => None,
    });
    sent.collect()
}

fn requests(actions: &[Action]) -> BTreeSet<(HostId, u32)> {
    let requests = actions.iter().filter_map(|action| match action {
        Action::Send(to, Message::Request { chunk, .. }) => Some((*to, *chunk)),
        _ => None,
    });
    requests.collect()
}

fn request(index: u32) -> Message {
    Message::Request { chunk: index, held: 0 }
}

fn reject(index: u32, reason: RejectReason) -> Message {
    Message::Reject { chunk: index, reason }
}

fn serve(to: HostId, index: u32) -> Action {
    Action::ServeChunk {
        to,
        chunk: chunk(index),
    }
}

fn gone(host: HostId, reason: DisconnectReason) -> Action {
    Action::Disconnect { host, reason }
}

/// What is done up to `millis` from now, when it is woken whenever it wants to be.
fn wait(driven: &mut Driven, millis: u64) -> Vec<Action> {
    let until = driven.now + Duration::from_millis(millis);
    let mut actions = Vec::new();
    while let Some(at) = driven.peer.next_wakeup().filter(|at| *at <= until) {
        driven.now = at.max(driven.now);
        actions.extend(driven.tell(Event::Wakeup));
    }
    driven.now = until;
    actions
}

#[test]
fn what_is_held_is_said_to_who_comes_or_asks_as_a_list_or_a_set_or_that_it_is_all() {
    for (held, expected) in [
        (0, Message::Have([].into_iter().collect())),
        (15, Message::Have((0..15).collect())),
        (16, Message::HaveSet(set(40, 0..16))),
        (39, Message::HaveSet(set(40, 0..39))),
        (40, Message::HaveAll),
    ] {
        let mut driven = holding(40, held);
        let said = driven.peer.stats().haves_sent;
        assert_eq!(
            sent_to(&driven.tell(Event::Connected(B)), B),
            std::slice::from_ref(&expected)
        );
        assert_eq!(
            sent_to(&driven.tell(Event::Message(A, Message::HaveRequest)), A),
            [expected]
        );
        assert_eq!(driven.peer.stats().haves_sent, said + 2);
    }
    let mut before = Driven::new(4, 0);
    assert_eq!(
        sent_to(&before.tell(Event::Connected(B)), B),
        [],
        "the store is not open yet"
    );
}

#[test]
fn a_chunk_that_has_come_is_said_once_to_those_that_lack_it_and_to_no_seeder() {
    let mut driven = holding(40, 0);
    for host in [B, C] {
        driven.tell(Event::Connected(host));
    }
    driven.tell(Event::Message(B, Message::Have([7].into_iter().collect())));
    let found = Event::ChunkFound { chunk: chunk(7) };
    let first = driven.tell(found);
    let second = driven.tell(Event::ChunkFound { chunk: chunk(9) });
    let mut actions = wait(&mut driven, 4);
    assert!(
        [first, second, actions.clone()]
            .iter()
            .all(|actions| sent_to(actions, A).is_empty()),
        "news waits for company"
    );
    actions.extend(wait(&mut driven, 1));
    let have = |chunks: &[u32]| Message::Have(chunks.iter().copied().collect());
    assert_eq!(
        [A, B, C].map(|host| sent_to(&actions, host)),
        [[have(&[7, 9])], [have(&[9])], [have(&[7, 9])]]
    );
    assert_eq!(sent_to(&actions, SEEDER), []);
    assert!(
        wait(&mut driven, 100)
            .iter()
            .all(|action| !matches!(action, Action::Send(_, Message::Have(_))))
    );
}

#[test]
fn with_the_last_chunk_it_is_said_that_all_is_held_to_seeders_and_whoever_runs_the_host_once() {
    let mut driven = holding(4, 3);
    driven.tell(Event::Connected(B));
    driven.tell(Event::Message(B, Message::HaveAll));
    let mut actions = driven.tell(Event::ChunkFound { chunk: chunk(3) });
    assert_eq!(sent_to(&actions, SEEDER), [Message::Complete]);
    assert!(actions.contains(&Action::Complete));
    actions.extend(wait(&mut driven, 5));
    assert_eq!(sent_to(&actions, A), [Message::HaveAll]);
    assert!(
        !sent_to(&actions, B).contains(&Message::HaveAll),
        "who has all needs nothing"
    );
    assert!(driven.peer.is_complete());
    driven.tell(Event::ChunkLost { chunk: chunk(3) });
    assert!(!driven.peer.is_complete());
    let again = driven.tell(Event::ChunkFound { chunk: chunk(3) });
    assert!(!again.contains(&Action::Complete) && sent_to(&again, SEEDER).is_empty());
}

#[test]
fn news_waits_for_a_32nd_of_the_time_that_a_chunk_takes_where_that_is_less() {
    for (taken, delay_micros) in [(64, 2000), (1000, 5000)] {
        let mut driven = Driven::new(40, 39);
        let asks = driven.asks_after(Event::StoreOpened { held: set(40, []) });
        let (from, index) = *asks.first().unwrap();
        driven.tell(Event::ChunkProgress {
            from,
            chunk: chunk(index),
        });
        driven.pass(taken);
        driven.stored(from, index);
        assert_eq!(
            driven.peer.timers.get(Timer::Flush),
            Some(driven.now + Duration::from_micros(delay_micros))
        );
    }
}

#[test]
fn with_large_chunks_it_is_said_when_requests_begin_to_wait_and_when_none_does_any_more() {
    for (size, is_said) in [(256 << 10, true), ((256 << 10) - 1, false)] {
        let seeder = Contact {
            host: SEEDER,
            address: "".into(),
        };
        let mut config = PeerConfig::new(HostId::new(9), "".into(), seeder);
        config.upload_slots = Some(1);
        let mut driven = Driven::of(Peer::new(config, 1, Time::ZERO));
        let hashes = (0..4_u32).map(|index| Hash::of(&index.to_le_bytes())).collect();
        let manifest = Arc::new(Manifest::new("build", Bytes::new(4 * u64::from(size)), size, hashes).unwrap());
        driven.tell(Event::Connected(SEEDER));
        driven.tell(Event::Message(SEEDER, Message::Build(Box::new(manifest.info()))));
        for host in [A, B] {
            driven.tell(Event::Connected(host));
        }
        driven.tell(Event::Message(A, Message::Have([].into_iter().collect())));
        wait(&mut driven, 2000);
        driven.tell(Event::Message(A, Message::Manifest(manifest)));
        driven.tell(Event::StoreOpened { held: set(4, [0, 1]) });
        let busy = |actions: &[Action]| {
            let said = sent_to(actions, B).into_iter().filter_map(|message| match message {
                Message::Busy { waiting } => Some(waiting),
                _ => None,
            });
            said.collect::<Vec<bool>>()
        };
        driven.tell(Event::Message(A, request(0)));
        assert_eq!(busy(&wait(&mut driven, 10)), [], "it is served, and nobody waits");
        driven.tell(Event::Message(A, request(1)));
        let expected: &[bool] = if is_said { &[true] } else { &[] };
        assert_eq!(busy(&wait(&mut driven, 10)), expected);
        driven.tell(Event::ChunkServed { to: A, chunk: chunk(0) });
        let expected: &[bool] = if is_said { &[false] } else { &[] };
        assert_eq!(busy(&wait(&mut driven, 10)), expected);
    }
}

#[test]
fn who_names_a_chunk_that_does_not_exist_is_not_talked_to_any_more() {
    for message in [
        Message::Have([1, 4].into_iter().collect()),
        Message::Invite { chunk: 4 },
        request(4),
        reject(4, RejectReason::NotHeld),
        Message::Lost { chunk: 4 },
    ] {
        let mut driven = holding(4, 2);
        let actions = driven.tell(Event::Message(A, message.clone()));
        assert!(
            actions.contains(&gone(A, DisconnectReason::ProtocolViolation)),
            "{message:?}: {actions:?}"
        );
        assert!(driven.peer.banned().eq([A]));
        assert_eq!(driven.peer.stats().neighbours_banned, 1);
    }
}

#[test]
fn a_request_is_served_turned_down_or_waits_as_there_is_the_chunk_and_room() {
    let mut driven = holding(40, 39);
    driven.tell(Event::Connected(B));
    let serving = Message::Serving {
        chunk: 3,
        waited: Waited::NONE,
    };
    let actions = driven.tell(Event::Message(A, request(3)));
    assert!(actions.contains(&serve(A, 3)) && sent_to(&actions, A) == [serving]);
    assert_eq!(
        sent_to(&driven.tell(Event::Message(A, request(39))), A),
        [reject(39, RejectReason::NotHeld)]
    );
    for index in 4..20 {
        assert_eq!(
            sent_to(&driven.tell(Event::Message(A, request(index))), A),
            [],
            "{index} waits"
        );
    }
    assert_eq!(
        sent_to(&driven.tell(Event::Message(A, request(20))), A),
        [reject(20, RejectReason::QueueFull)]
    );
    assert_eq!(driven.peer.stats().requests_rejected, 2);
    assert_eq!(driven.tell(Event::Message(A, Message::Cancel { chunk: 4 })), []);
    let stop = Action::StopServing { to: A, chunk: chunk(3) };
    assert_eq!(driven.tell(Event::Message(A, Message::Cancel { chunk: 3 })), [stop]);
    driven.tell(Event::Message(B, request(0)));
    let next = driven.tell(Event::ChunkServed { to: A, chunk: chunk(3) });
    assert!(
        next.contains(&serve(A, 5)),
        "4 is not wanted any more, and 5 came first"
    );
    let mut before = Driven::new(4, 0);
    assert_eq!(
        sent_to(&before.tell(Event::Message(A, request(0))), A),
        [reject(0, RejectReason::NotHeld)]
    );
}

#[test]
fn who_takes_none_of_what_it_asked_for_in_two_minutes_is_let_go() {
    let mut driven = holding(40, 39);
    driven.tell(Event::Message(A, request(3)));
    driven.tell(Event::Message(A, request(4)));
    let let_go = gone(A, DisconnectReason::NotReading);
    let actions = wait(&mut driven, 119_999);
    assert!(!actions.contains(&let_go));
    assert!(wait(&mut driven, 1).contains(&let_go));
}

#[test]
fn what_is_lost_here_is_taken_back_from_everybody_and_said_again_when_it_is_back() {
    let mut driven = holding(40, 10);
    driven.tell(Event::Connected(B));
    driven.tell(Event::Message(A, request(3)));
    driven.tell(Event::Message(B, request(3)));
    let actions = driven.tell(Event::ChunkLost { chunk: chunk(3) });
    let lost = Message::Lost { chunk: 3 };
    assert!(
        [A, B]
            .iter()
            .all(|host| sent_to(&actions, *host) == std::slice::from_ref(&lost)),
        "{actions:?}"
    );
    assert_eq!(sent_to(&actions, SEEDER), []);
    let stop = |to| Action::StopServing { to, chunk: chunk(3) };
    assert!(actions.contains(&stop(A)));
    assert_eq!(driven.tell(Event::ChunkLost { chunk: chunk(3) }), [], "it is known");
    assert_eq!(
        driven.tell(Event::ChunkLost { chunk: chunk(30) }),
        [],
        "it was never here"
    );
    assert!(driven.peer.acquired().iter().all(|held| *held != chunk(3)));
    driven.tell(Event::ChunkFound { chunk: chunk(3) });
    assert_eq!(driven.peer.acquired().last(), Some(&chunk(3)));
    let have = Message::Have([3].into_iter().collect());
    assert!(sent_to(&wait(&mut driven, 5), A).contains(&have));
}

#[test]
fn what_is_found_here_is_taken_back_where_it_was_asked_for() {
    let mut driven = Driven::new(8, 3);
    let asks = driven.asks_after(Event::StoreOpened { held: set(8, []) });
    assert_eq!(asks, BTreeSet::from([(A, 2), (A, 1)]));
    let actions = driven.tell(Event::ChunkFound { chunk: chunk(2) });
    assert!(sent_to(&actions, A).contains(&Message::Cancel { chunk: 2 }));
    assert_eq!(
        requests(&actions),
        BTreeSet::from([(A, 0)]),
        "there is room for another"
    );
    assert_eq!(driven.tell(Event::ChunkFound { chunk: chunk(2) }), []);
}

#[test]
fn who_gives_up_on_two_chunks_and_delivers_none_does_not_have_the_second() {
    let mut driven = Driven::new(8, 1);
    driven.asks_after(Event::StoreOpened { held: set(8, []) });
    let aborted = || Event::ChunkAborted {
        from: A,
        chunk: chunk(0),
    };
    assert_eq!(
        driven.asks_after(aborted()),
        BTreeSet::from([(A, 0)]),
        "once it may be by chance"
    );
    assert_eq!(
        driven.peer.chunks_without_source(),
        (1..8).map(chunk).collect::<Vec<_>>()
    );
    assert_eq!(driven.asks_after(aborted()), BTreeSet::new());
    assert_eq!(
        driven.peer.chunks_without_source(),
        (0..8).map(chunk).collect::<Vec<_>>()
    );
}

#[test]
fn a_member_that_turns_a_request_down_is_asked_again_after_a_tenth_of_a_second_and_then_twice_that() {
    let mut driven = Driven::new(8, 1);
    driven.asks_after(Event::StoreOpened { held: set(8, []) });
    for millis in [100, 200, 400, 800, 1600, 2000, 2000] {
        let full = reject(0, RejectReason::QueueFull);
        assert_eq!(driven.asks_after(Event::Message(A, full)), BTreeSet::new());
        let before = wait(&mut driven, millis - 1);
        assert_eq!(requests(&before), BTreeSet::new(), "{millis}");
        let after = wait(&mut driven, 1);
        assert_eq!(requests(&after), BTreeSet::from([(A, 0)]), "{millis}");
    }
    let not_held = reject(0, RejectReason::NotHeld);
    driven.tell(Event::Message(A, not_held));
    assert_eq!(driven.peer.chunks_without_source().len(), 8, "it is not there at all");
    assert_eq!(requests(&wait(&mut driven, 10_000)), BTreeSet::new());
}

#[test]
fn a_neighbour_that_lost_a_chunk_is_not_asked_for_it() {
    let mut driven = Driven::new(8, 4);
    assert_eq!(
        driven.asks_after(Event::StoreOpened { held: set(8, []) }),
        BTreeSet::from([(A, 3), (A, 2)])
    );
    let lost = |index| Event::Message(A, Message::Lost { chunk: index });
    assert_eq!(driven.asks_after(lost(1)), BTreeSet::new(), "it was not asked for it");
    driven.tell(lost(3));
    let later = wait(&mut driven, 100);
    assert_eq!(requests(&later), BTreeSet::from([(A, 0)]), "of what is left");
}

#[test]
fn who_has_nothing_on_its_way_asks_its_neighbours_ever_later_and_the_seeder_the_third_time() {
    let mut driven = Driven::new(8, 0);
    driven.tell(Event::StoreOpened { held: set(8, []) });
    let opened_at = driven.now;
    let mut asked_after = Vec::new();
    for _ in 0..7 {
        driven.now = driven.peer.timers.get(Timer::Starved).unwrap();
        let actions = driven.tell(Event::Wakeup);
        let hosts = [A, SEEDER].map(|host| sent_to(&actions, host).contains(&Message::HaveRequest));
        asked_after.push((driven.now.since(opened_at).as_millis(), hosts));
    }
    let (member, both) = ([true, false], [true, true]);
    assert_eq!(
        asked_after,
        [
            (500, member),
            (1500, member),
            (3500, both),
            (7500, both),
            (15_500, both),
            (23_500, both),
            (31_500, both)
        ]
    );
    // Alone with the seeder it turns to it at once.
    let mut driven = Driven::new(8, 0);
    driven.tell(Event::StoreOpened { held: set(8, []) });
    driven.tell(Event::Disconnected(A));
    driven.now = driven.peer.timers.get(Timer::Starved).unwrap();
    let actions = driven.tell(Event::Wakeup);
    assert_eq!(
        sent_to(&actions, SEEDER)
            .iter()
            .filter(|said| **said == Message::HaveRequest)
            .count(),
        1
    );
}

/// Half a fleet that had lost the seeder, and had nothing for each other, waited for seconds beside a seeder that was back.
#[test]
fn who_starves_says_so_as_soon_as_a_seeder_is_back() {
    for (rounds, says_so) in [(2, false), (3, true)] {
        let mut driven = Driven::new(8, 0);
        driven.tell(Event::StoreOpened { held: set(8, []) });
        driven.tell(Event::Disconnected(SEEDER));
        for _ in 0..rounds {
            driven.now = driven.peer.timers.get(Timer::Starved).unwrap();
            driven.tell(Event::Wakeup);
        }
        let actions = driven.tell(Event::Connected(SEEDER));
        let said = sent_to(&actions, SEEDER);
        assert_eq!(said.contains(&Message::HaveRequest), says_so, "{rounds}: {said:?}");
    }
}

#[test]
fn who_is_to_get_something_does_not_starve_and_who_gets_something_begins_anew() {
    let mut driven = Driven::new(8, 1);
    driven.asks_after(Event::StoreOpened { held: set(8, []) });
    assert_eq!(driven.peer.timers.get(Timer::Starved), None, "A is asked");
    driven.stored(A, 0);
    let starved_at = driven.now + Duration::from_millis(500);
    assert_eq!(driven.peer.timers.get(Timer::Starved), Some(starved_at));
    driven.now = starved_at;
    driven.tell(Event::Wakeup);
    driven.tell(Event::Message(A, Message::Have([1].into_iter().collect())));
    assert_eq!(driven.peer.timers.get(Timer::Starved), None);
    driven.stored(A, 1);
    let starved_at = driven.now + Duration::from_millis(500);
    assert_eq!(
        driven.peer.timers.get(Timer::Starved),
        Some(starved_at),
        "as the first time"
    );
}

#[test]
fn what_was_asked_of_a_seeder_counts_from_when_it_begins() {
    let mut driven = Driven::new(8, 0);
    driven.tell(Event::StoreOpened { held: set(8, []) });
    let offer = Message::Offer([5].into_iter().collect());
    assert_eq!(
        driven.asks_after(Event::Message(SEEDER, offer)),
        BTreeSet::from([(SEEDER, 5)])
    );
    assert!(driven.peer.timers.get(Timer::Starved).is_some(), "it may turn it down");
    driven.serving(SEEDER, 5);
    driven.tell(Event::Message(SEEDER, Message::Offer([].into_iter().collect())));
    assert_eq!(driven.peer.timers.get(Timer::Starved), None);
}

#[test]
fn when_all_who_have_a_chunk_are_late_with_it_seeders_are_told_once_of_each() {
    let mut driven = Driven::new(8, 1);
    driven.asks_after(Event::StoreOpened { held: set(8, []) });
    let mut actions = wait(&mut driven, 1500);
    actions.extend(wait(&mut driven, 400));
    let word = Message::NotServing { host: A, chunk: 0 };
    let said = sent_to(&actions, SEEDER).into_iter().filter(|said| *said == word);
    assert_eq!(said.count(), 1, "{actions:?}");
}

#[test]
fn who_sent_wrong_bytes_is_banned_and_seeders_hear_of_it() {
    let mut driven = Driven::new(8, 1);
    driven.asks_after(Event::StoreOpened { held: set(8, []) });
    let actions = driven.tell(Event::ChunkCorrupt {
        from: A,
        chunk: chunk(0),
    });
    assert!(actions.contains(&gone(A, DisconnectReason::CorruptChunk)));
    assert!(sent_to(&actions, SEEDER).contains(&Message::Complaint { host: A, chunk: 0 }));
    assert_eq!(driven.peer.stats().chunks_corrupt, 1);
    // A seeder is not banned: it is dialled again, and hears of it then.
    let actions = driven.tell(Event::ChunkCorrupt {
        from: SEEDER,
        chunk: chunk(2),
    });
    assert!(actions.contains(&gone(SEEDER, DisconnectReason::CorruptChunk)));
    assert!(driven.peer.banned().eq([A]));
    let back = driven.tell(Event::Connected(SEEDER));
    assert!(sent_to(&back, SEEDER).contains(&Message::Complaint { host: SEEDER, chunk: 2 }));
}

#[test]
fn the_manifest_is_given_to_who_asks_once_it_is_here() {
    let mut driven = Driven::new(4, 0);
    let ask = |driven: &mut Driven| sent_to(&driven.tell(Event::Message(A, Message::ManifestRequest)), A);
    let manifest = driven.peer.manifest().cloned().unwrap();
    assert_eq!(
        ask(&mut driven),
        [Message::Manifest(Arc::clone(&manifest))],
        "before the store is open"
    );
    let mut nobody = Driven::of_no_build();
    nobody.tell(Event::Connected(A));
    assert_eq!(ask(&mut nobody), []);
    assert_eq!(nobody.tell(Event::Message(A, Message::Manifest(manifest))), []);
    assert_eq!(nobody.peer.stats().messages_ignored, 2);
    assert_eq!(
        (
            nobody.peer.progress(),
            nobody.peer.is_complete(),
            nobody.peer.manifest()
        ),
        (None, false, None)
    );
}

#[test]
fn who_gives_a_wrong_manifest_is_banned_and_the_next_is_asked() {
    let mut driven = Driven::of_no_build();
    let [right, wrong] = [1, 2].map(|byte| Arc::new(Manifest::of("build", &[byte; 100], 64).unwrap()));
    driven.tell(Event::Connected(SEEDER));
    driven.tell(Event::Message(SEEDER, Message::Build(Box::new(right.info()))));
    for host in [A, B] {
        driven.tell(Event::Connected(host));
        driven.tell(Event::Message(host, Message::HaveAll));
    }
    let actions = driven.tell(Event::Message(A, Message::Manifest(wrong)));
    assert!(actions.contains(&gone(A, DisconnectReason::WrongManifest)));
    assert!(driven.peer.banned().eq([A]));
    let asked = [B, SEEDER].map(|host| sent_to(&actions, host).contains(&Message::ManifestRequest));
    assert_eq!(asked.iter().filter(|asked| **asked).count(), 1);
    let actions = driven.tell(Event::Message(B, Message::Manifest(Arc::clone(&right))));
    assert!(actions.contains(&Action::OpenStore(right)));
    assert_eq!(driven.peer.timers.get(Timer::ManifestRetry), None);
}

#[test]
fn a_seeder_that_showed_all_and_offers_again_is_asked_for_what_it_offers_only() {
    let mut driven = Driven::new(8, 0);
    driven.tell(Event::StoreOpened { held: set(8, 0..3) });
    driven.tell(Event::Message(SEEDER, Message::HaveAll));
    assert_eq!(driven.peer.chunks_without_source(), []);
    let offer = |chunks: &[u32]| Message::Offer(chunks.iter().copied().collect());
    driven.tell(Event::Message(SEEDER, offer(&[6])));
    assert_eq!(driven.peer.chunks_without_source(), [3, 4, 5, 7].map(chunk));
    driven.tell(Event::Message(SEEDER, offer(&[4])));
    assert_eq!(driven.peer.chunks_without_source(), [3, 5, 7].map(chunk));
    let actions = driven.tell(Event::Message(SEEDER, offer(&[8])));
    assert!(actions.contains(&gone(SEEDER, DisconnectReason::ProtocolViolation)));
}

#[test]
fn who_is_silent_is_asked_for_the_manifest_in_turn_with_the_seeder_and_more_slowly_each_round() {
    let mut driven = Driven::of_no_build();
    assert!(driven.peer.is_seeder(SEEDER) && !driven.peer.is_seeder(A));
    let manifest = Manifest::of("build", &[7; 100], 64).unwrap();
    driven.tell(Event::Connected(SEEDER));
    driven.tell(Event::Message(SEEDER, Message::Build(Box::new(manifest.info()))));
    driven.tell(Event::Connected(A));
    driven.tell(Event::Message(A, Message::HaveAll));
    let mut gaps = Vec::new();
    let mut hosts = Vec::new();
    while gaps.len() < 16 {
        let at = driven.peer.timers.get(Timer::ManifestRetry).unwrap();
        gaps.push(at.since(driven.now).as_secs());
        driven.now = at;
        let actions = driven.tell(Event::Wakeup);
        let asked = [A, SEEDER]
            .into_iter()
            .find(|host| sent_to(&actions, *host).contains(&Message::ManifestRequest));
        hosts.push(asked.unwrap());
    }
    assert_eq!(gaps, [1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 16]);
    assert_eq!(hosts[..4], [SEEDER, A, SEEDER, A]);
}

#[test]
fn strangers_say_nothing() {
    let mut driven = holding(8, 4);
    assert_eq!(driven.tell(Event::Message(B, request(0))), []);
    for message in [
        Message::Complete,
        Message::Build(Box::new(driven.peer.manifest().unwrap().info())),
    ] {
        assert_eq!(
            driven.tell(Event::Message(A, message)),
            [],
            "that is not for a member to say"
        );
    }
    assert_eq!(driven.peer.stats().messages_ignored, 3);
}

/// A host of zone 1 with three neighbours of its own zone, numbers 11 to 13.
fn in_zone_1(chunks: u32, has: u32) -> Driven {
    let mut driven = Driven::in_zone(Some(zone(1)), chunks, has);
    for number in 11..14 {
        let host = HostId::new(number);
        driven.tell(Event::Connected(host));
        driven.tell(Event::Message(host, Message::Zone(zone(1))));
    }
    driven
}

#[test]
fn an_invitation_is_taken_up_once_and_one_to_what_is_held_is_not_kept() {
    let mut driven = in_zone_1(8, 0);
    driven.tell(Event::Message(A, Message::Zone(zone(2))));
    driven.tell(Event::StoreOpened { held: set(8, [1]) });
    let invite = |index| Event::Message(A, Message::Invite { chunk: index });
    assert_eq!(driven.asks_after(invite(1)), BTreeSet::new(), "it is here");
    assert_eq!(driven.asks_after(invite(2)), BTreeSet::from([(A, 2)]));
    assert_eq!(driven.asks_after(invite(2)), BTreeSet::new(), "it is on its way");
    // Those that come before the store is open are taken up when it is.
    let mut early = in_zone_1(8, 0);
    early.tell(Event::Message(A, Message::Zone(zone(2))));
    early.tell(invite(3));
    assert_eq!(
        early.asks_after(Event::StoreOpened { held: set(8, []) }),
        BTreeSet::from([(A, 3)])
    );
}

#[test]
fn a_zone_that_starves_fetches_from_another_through_more_of_its_hosts_each_time() {
    // Of four that see it one in four begins, then one in two, and from the third time on all.
    let fetches = |seed, times| {
        let mut driven = in_zone_1(8, 0);
        driven.peer.rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        driven.tell(Event::Message(A, Message::Zone(zone(2))));
        driven.tell(Event::StoreOpened { held: set(8, []) });
        driven.peer.open_borders(times);
        let have = Message::Have([5].into_iter().collect());
        !driven.asks_after(Event::Message(A, have)).is_empty()
    };
    let begun = [1, 2, 3, 9].map(|times| (0..200).filter(|seed| fetches(*seed, times)).count());
    assert!(
        (25..=75).contains(&begun[0]) && (70..=130).contains(&begun[1]),
        "{begun:?}"
    );
    assert_eq!(begun[2..], [200, 200]);
}

#[test]
fn a_peer_that_has_lost_count_says_so() {
    let mut driven = Driven::new(8, 3);
    driven.asks_after(Event::StoreOpened { held: set(8, []) });
    assert_eq!(driven.peer.check(), Ok(()));
    let Build::Fetching(download) = &mut driven.peer.build else {
        panic!("it fetches");
    };
    download.ledger.lose_count();
    assert!(driven.peer.check().is_err());
}
