//! How many chunks a peer asks for, whom it asks, and when it looks at them again.

use super::*;

/// Takes in a chunk of those that are asked of A, after so many milliseconds.
fn take_one(driven: &mut Driven, asked: &mut BTreeSet<(HostId, u32)>, millis: u64) {
    let (from, index) = asked.pop_first().unwrap();
    driven.serving(from, index);
    driven.pass(millis);
    asked.extend(driven.stored(from, index));
}

fn ledger(driven: &Driven) -> &ledger::Ledger {
    &driven.peer.download().unwrap().ledger
}

#[test]
fn what_was_asked_of_who_has_gone_is_asked_of_another() {
    let mut driven = Driven::new(8, 3);
    let asks = driven.asks_after(Event::StoreOpened { held: set(8, []) });
    assert_eq!(asks, BTreeSet::from([(A, 2), (A, 1)]));
    driven.serving(A, 2);
    driven.serving(A, 1);
    driven.tell(Event::Connected(B));
    let have = Message::Have([1, 2].into_iter().collect());
    assert_eq!(driven.asks_after(Event::Message(B, have)), BTreeSet::new());
    assert_eq!(
        driven.asks_after(Event::Disconnected(A)),
        BTreeSet::from([(B, 2), (B, 1)])
    );
}

/// Whoever begins is drawn on: else the first of them would be asked for each.
#[test]
fn of_neighbours_that_are_alike_now_the_one_is_asked_and_now_the_other() {
    let mut driven = Driven::new(40, 40);
    driven.peer.config.chunks_in_flight_max = Some(1);
    driven.peer.window = 1;
    driven.tell(Event::Connected(B));
    driven.tell(Event::Message(B, Message::HaveAll));
    let mut asked = driven.asks_after(Event::StoreOpened { held: set(40, []) });
    let mut hosts = BTreeSet::new();
    while let Some((from, index)) = asked.pop_first() {
        hosts.insert(from);
        asked = driven.stored(from, index);
    }
    assert!(driven.peer.is_complete());
    assert_eq!(hosts, BTreeSet::from([A, B]));
}

/// What this host sends shows how fast its link is, and what a message takes is worth more chunks on a faster one.
#[test]
fn when_a_chunk_has_left_it_is_worked_out_anew_how_many_to_ask_for_and_more_are_asked_for_at_once() {
    let mut driven = Driven::new(60, 60);
    let config = &mut driven.peer.config;
    (config.chunks_in_flight_max, config.requests_per_neighbour_max) = (None, None);
    driven.peer.window = 1;
    assert_eq!(driven.asks_after(Event::StoreOpened { held: set(60, [0]) }).len(), 1);
    driven.tell(Event::Message(A, request(0)));
    assert_eq!(driven.peer.window, 1);
    let to = A;
    let more = driven.asks_after(Event::ChunkServed { to, chunk: chunk(0) });
    assert_eq!(
        (driven.peer.window, more.len()),
        (window::AT_FIRST, window::AT_FIRST - 1)
    );
}

#[test]
fn requests_are_counted_and_of_them_those_that_were_made_twice() {
    let mut driven = Driven::new(70, 70);
    driven.tell(Event::Connected(B));
    driven.tell(Event::Message(B, Message::HaveAll));
    driven.peer.config.chunks_in_flight_max = Some(1);
    driven.peer.window = 1;
    let mut asked = driven.asks_after(Event::StoreOpened { held: set(70, 0..55) });
    let mut made = asked.len() as u64;
    while !asked.is_empty() {
        let (from, index) = asked.pop_first().unwrap();
        driven.serving(from, index);
        asked.retain(|(_, other)| *other != index);
        driven.pass(100);
        let more = driven.stored(from, index);
        made += more.len() as u64;
        asked.extend(more);
    }
    let stats = driven.peer.stats();
    assert_eq!((stats.requests_sent, stats.requests_hedged), (made, 0));
    assert_eq!(
        stats.requests_tied,
        made - 15,
        "each chunk beyond the first dozen twice"
    );
}

/// A chunk that takes half as long again as usual is slow. With nobody there to be asked for it, it is looked at again after half of what
/// a chunk takes.
#[test]
fn the_last_chunk_is_looked_at_when_it_is_slow_and_again_after_a_while() {
    for (taken, is_short) in [(100, false), (12, true)] {
        let mut driven = Driven::new(70, 70);
        let mut asked = driven.asks_after(Event::StoreOpened { held: set(70, 0..54) });
        while asked.len() > 1 {
            assert_eq!(driven.peer.timers.get(Timer::Late), None, "others are to come first");
            if asked.len() == 2 && ledger(&driven).wanted_count() == 0 {
                driven.serving(A, asked.last().unwrap().1);
            }
            take_one(&mut driven, &mut asked, taken);
        }
        let (slow_at, _) = ledger(&driven).slow().min().unwrap();
        let half = ledger(&driven).transfer().unwrap() / 2;
        let least = Duration::from_millis(10);
        assert_eq!(half < least, is_short, "{half:?}");
        let again = half.max(least);
        assert_eq!(
            driven.peer.timers.get(Timer::Late),
            Some(slow_at.max(driven.now + again))
        );
        driven.now = driven.peer.timers.get(Timer::Late).unwrap();
        driven.tell(Event::Wakeup);
        assert_eq!(driven.peer.timers.get(Timer::Late), Some(driven.now + again));
        driven.tell(Event::Connected(B));
        let last = asked.first().unwrap().1;
        driven.tell(Event::Message(B, Message::HaveAll));
        driven.now = driven.peer.timers.get(Timer::Late).unwrap();
        assert_eq!(driven.asks_after(Event::Wakeup), BTreeSet::from([(B, last)]));
        assert_eq!(driven.peer.stats().requests_hedged, 1);
    }
}

#[test]
fn of_a_build_of_few_chunks_the_last_is_not_looked_at_since_nobody_is_asked_for_it_twice() {
    let mut driven = Driven::new(60, 60);
    let mut asked = driven.asks_after(Event::StoreOpened { held: set(60, 0..44) });
    while asked.len() > 1 {
        if asked.len() == 2 && ledger(&driven).wanted_count() == 0 {
            driven.serving(A, asked.last().unwrap().1);
        }
        take_one(&mut driven, &mut asked, 100);
    }
    assert!(ledger(&driven).slow().next().is_some());
    assert_eq!(driven.peer.timers.get(Timer::Late), None);
}

#[test]
fn a_chunk_that_comes_from_another_zone_is_counted() {
    let mut driven = in_zone_1(8, 0);
    driven.tell(Event::Message(A, Message::Zone(zone(2))));
    driven.tell(Event::StoreOpened { held: set(8, []) });
    let invite = Event::Message(A, Message::Invite { chunk: 2 });
    assert_eq!(driven.asks_after(invite), BTreeSet::from([(A, 2)]));
    driven.stored(A, 2);
    assert_eq!(driven.peer.stats().chunks_imported, 1);
    let neighbour = HostId::new(11);
    let have = Message::Have([3].into_iter().collect());
    assert_eq!(
        driven.asks_after(Event::Message(neighbour, have)),
        BTreeSet::from([(neighbour, 3)])
    );
    driven.stored(neighbour, 3);
    assert_eq!(driven.peer.stats().chunks_imported, 1);
}

#[test]
fn only_a_seeder_that_turns_down_what_it_has_shown_is_left_alone_for_a_while() {
    let offers_more = || Message::Offer([7].into_iter().collect());
    for (says, from, index, reason, is_left_alone) in [
        (Message::HaveAll, SEEDER, 6, RejectReason::QueueFull, true),
        (Message::HaveAll, SEEDER, 6, RejectReason::NotHeld, false),
        (Message::HaveAll, SEEDER, 8, RejectReason::QueueFull, false),
        (Message::HaveAll, A, 6, RejectReason::QueueFull, false),
        (offers_more(), SEEDER, 6, RejectReason::QueueFull, false),
    ] {
        let mut driven = Driven::new(8, 0);
        driven.tell(Event::StoreOpened { held: set(8, []) });
        let offer = Message::Offer([5, 6].into_iter().collect());
        assert_eq!(driven.asks_after(Event::Message(SEEDER, offer)).len(), 2);
        driven.tell(Event::Message(SEEDER, says));
        driven.tell(Event::Message(from, reject(index, reason)));
        let refused = driven.peer.tracker.refused_of_late();
        let expected: &[HostId] = if is_left_alone { &[SEEDER] } else { &[] };
        assert_eq!(refused.as_slice(), expected, "{from} {index} {reason:?}");
    }
}

#[test]
fn who_is_late_loses_its_turn_unless_it_is_a_seeder() {
    for (from, loses) in [(A, true), (SEEDER, false)] {
        let mut driven = Driven::new(8, u32::from(from == A));
        driven.tell(Event::StoreOpened { held: set(8, []) });
        if from == SEEDER {
            driven.tell(Event::Message(SEEDER, Message::Offer([0].into_iter().collect())));
        }
        while !ledger(&driven).is_late(from) {
            driven.now = driven.peer.timers.get(Timer::RequestExpiry).expect("it is asked");
            driven.tell(Event::Wakeup);
            assert!(driven.now < Time::from_nanos(60_000_000_000), "{from} is not late");
        }
        assert_eq!(driven.peer.stats().requests_overdue, 0);
        assert_eq!(driven.peer.neighbours.is_parked_host(from, driven.now), loses);
    }
}

/// Of a peer that has asked A for a chunk and is woken so late, in milliseconds, each time that it wants to look at its requests; whether it
/// takes A for late the last time.
fn is_late_after_lags(lags: &[u64]) -> bool {
    let mut driven = Driven::new(8, 1);
    driven.asks_after(Event::StoreOpened { held: set(8, []) });
    let mut is_late = false;
    for lag in lags {
        let due = driven.peer.timers.get(Timer::RequestExpiry).unwrap();
        driven.now = due + Duration::from_millis(*lag);
        driven.tell(Event::Wakeup);
        is_late = ledger(&driven).is_late(A);
        let next = driven.peer.timers.get(Timer::RequestExpiry).unwrap();
        assert!(next > driven.now, "{lags:?}");
    }
    is_late
}

/// A machine that was suspended finds its neighbours' answers in its sockets, and so does one that is busy.
#[test]
fn nobody_is_late_as_long_as_this_host_is_woken_late() {
    assert!(is_late_after_lags(&[0]));
    for lag in [10, 500, 999, 1000, 60_000] {
        assert!(!is_late_after_lags(&[lag]), "{lag} ms late once");
    }
    // What is given is four times the lag, which has been had then.
    for lag in [10, 500, 999] {
        assert!(is_late_after_lags(&[lag, 0]), "{lag} ms late once, and in time again");
    }
}

/// A pause is over when it is seen. Where one follows another the machine is busy.
#[test]
fn a_pause_once_gives_nobody_more_time_than_it_took() {
    let given = |lags: &[u64]| {
        let mut driven = Driven::new(8, 1);
        driven.asks_after(Event::StoreOpened { held: set(8, []) });
        for lag in lags {
            let due = driven.peer.timers.get(Timer::RequestExpiry).unwrap();
            driven.now = due + Duration::from_millis(*lag);
            driven.tell(Event::Wakeup);
        }
        driven.peer.timers.get(Timer::RequestExpiry).unwrap().since(driven.now)
    };
    let usual = given(&[60_000]);
    assert_eq!(given(&[2000]), usual, "however long it is");
    assert_eq!(given(&[60_000, 2000]), usual + Duration::from_secs(8));
    assert_eq!(
        given(&[60_000, 0, 2000]),
        given(&[2000, 0, 60_000]),
        "one in between was in time"
    );
}

#[test]
fn bytes_of_what_was_asked_for_make_up_for_a_missed_request_and_others_do_not() {
    let mut driven = Driven::new(8, 1);
    driven.asks_after(Event::StoreOpened { held: set(8, []) });
    driven.now = driven.peer.timers.get(Timer::RequestExpiry).unwrap();
    driven.tell(Event::Wakeup);
    let bytes_of = |index| Event::ChunkProgress {
        from: A,
        chunk: chunk(index),
    };
    assert!(driven.peer.neighbours.any_missing());
    driven.tell(bytes_of(3));
    assert!(driven.peer.neighbours.any_missing(), "it was not asked for that");
    driven.tell(bytes_of(0));
    assert!(!driven.peer.neighbours.any_missing());
}

#[test]
fn who_has_yet_to_hear_of_a_chunk_that_is_lost_hears_only_what_it_was_not_told() {
    for (lost, told) in [(7, vec![9]), (1, vec![7, 9])] {
        let mut driven = holding(40, 2);
        driven.tell(Event::ChunkFound { chunk: chunk(7) });
        driven.tell(Event::ChunkLost { chunk: chunk(lost) });
        driven.tell(Event::ChunkFound { chunk: chunk(9) });
        let have = Message::Have(told.into_iter().collect());
        assert_eq!(sent_to(&wait(&mut driven, 5), A), [have], "{lost} is lost");
    }
}
